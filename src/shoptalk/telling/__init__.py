"""What a run's pages say: evidence, facts, trace, cards and advice, told from what the stages have left."""
