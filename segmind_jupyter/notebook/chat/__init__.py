"""The chat widget and its transcript."""
