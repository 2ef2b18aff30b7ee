"""Progress on standard error: a live panel or a live line in a terminal, plain lines elsewhere."""

from shoptalk.progress.console import Console

__all__ = ["Console"]
