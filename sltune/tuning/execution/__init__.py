"""Trials on Ray Tune: handing them out, hearing from them, and what follows when one is lost."""
