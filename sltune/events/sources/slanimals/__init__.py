"""SL-Animals-DVS: its recordings and their tag files."""
