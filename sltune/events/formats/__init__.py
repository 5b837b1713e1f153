"""Files of recordings, as they are, gzipped or in zip archives."""
