"""Which trial runs next and what a search learns from it, without Ray."""
