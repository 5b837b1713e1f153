"""Numbers as cells, and cells as Markdown, LaTeX, CSV and JSON."""
