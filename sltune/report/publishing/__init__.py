"""Runs for others: as an archive without anything private, and in MLflow or Weights & Biases."""
