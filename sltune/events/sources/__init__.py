"""Where labelled samples come from: a lab's own recordings, SL-Animals-DVS, Tonic's datasets, N-MNIST."""
