"""The LIF equation, its surrogate gradients, and what a backend offers; in plain torch."""
