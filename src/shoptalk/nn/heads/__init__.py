"""Heads on frozen vectors: from a few labels, and from unlabelled text beside them, to a classifier that is shipped."""
