"""The way of the events: a source is imported once, samples are cropped and become frames."""
