"""Cheap measurements of a frozen product."""
