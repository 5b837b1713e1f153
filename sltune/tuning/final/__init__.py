"""Networks that are trained on everybody, and what networks say of recordings; without Ray."""
