"""Language models at work: tokens after a prompt, one user or several at a time, on the CPU."""
