"""Where a run computes: a Ray of its own or a cluster, the nodes, what a trial takes of them, the data in memory."""
