"""Random changes of the events of training crops, each a class that is called with the events."""
