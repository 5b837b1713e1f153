"""From recordings to frames: a source is imported once, samples are cropped and become frames."""
