"""What people and machines see while a run goes on."""
