"""Final networks, which are trained on all signers, and predictions for recordings; without Ray."""
