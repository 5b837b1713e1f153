"""A user's own code: where it is found, how it reaches workers, how it is imported."""
