"""What neurobatch achieves on this machine: one command a question, each with its ratios from one run."""
