"""How a network learns: batches, loss, optimizer, weights, checkpoints."""
