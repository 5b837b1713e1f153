"""What keeps a run from working, found before it runs: on this machine, on the nodes of a cluster, in files."""
