"""Each token from those before it."""
