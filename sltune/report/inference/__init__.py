"""What accuracies say about new signers and new trainings: estimates, tests, and how many trainings a test needs."""
