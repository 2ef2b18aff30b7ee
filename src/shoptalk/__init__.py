"""Self-supervised learning for conversational AI."""
