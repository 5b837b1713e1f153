"""Files, locks, memory and processes of the operating system."""
