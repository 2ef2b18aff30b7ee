"""Objectives without negatives."""
