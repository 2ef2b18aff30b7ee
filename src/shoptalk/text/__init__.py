"""Tokenising and batching text."""
