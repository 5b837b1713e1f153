"""Samples that are listed one by one: grouped by subject, and packed into files."""
