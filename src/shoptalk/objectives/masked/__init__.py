"""Masked prediction."""
