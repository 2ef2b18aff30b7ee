"""Objectives that bring pictures and texts into one space."""
