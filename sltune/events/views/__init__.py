"""What `inspect` and `show` print and draw of a dataset."""
