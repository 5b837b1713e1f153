"""Runs that are handed to Slurm or Kubernetes: scripts and manifests of jobs, and the user's configuration file."""
