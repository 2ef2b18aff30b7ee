"""From files to documents: reading, cleaning, dropping with reasons, splitting."""
