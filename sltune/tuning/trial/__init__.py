"""One training and its test, without Ray."""
