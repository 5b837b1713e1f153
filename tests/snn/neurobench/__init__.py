"""NeuroBench's counts of small networks, and sltune's of the same ones."""
