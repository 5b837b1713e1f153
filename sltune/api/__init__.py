"""What `import sltune` offers to notebooks and scripts: the engine of the command line, with types."""
