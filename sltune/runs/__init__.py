"""The run folder: what lies in it, and what its records say."""
