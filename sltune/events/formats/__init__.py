"""Files of recordings, every format behind one interface, as they are, gzipped or in zip archives."""
