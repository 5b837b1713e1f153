"""The two jobs, evaluate and tune: from a space file and a dataset to a run folder."""
