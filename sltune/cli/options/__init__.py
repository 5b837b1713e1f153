"""Flags that several verbs share, and what they mean for the modules below."""
