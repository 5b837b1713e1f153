"""Samples listed one by one: read from tables, cut out of recordings, grouped by subject, and packed into files."""
