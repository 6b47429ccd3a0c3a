"""Tables as summaries within a token budget."""
