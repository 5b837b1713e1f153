"""What is said of results in sentences: answers to a reader's questions, paragraphs and a table for a paper, BibTeX."""
