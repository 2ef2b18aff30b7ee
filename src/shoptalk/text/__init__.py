"""Text: tokenising, batching, and the corpus as objectives see it."""
