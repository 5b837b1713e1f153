"""Where labelled samples come from: SL-Animals-DVS, Tonic's datasets, N-MNIST, a lab's own."""
