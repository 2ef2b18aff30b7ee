"""The assistant over HTTP: every message is stored before it is answered, and answered exactly once."""
