"""Measurements of Shoptalk that anyone can repeat; each module prints one Markdown table."""
