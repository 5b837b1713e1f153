"""What speaks against the figures of trials: silent layers, one class for all samples, accuracy of guessing."""
