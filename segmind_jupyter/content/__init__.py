"""Python objects and prompts become content blocks. Knows nothing of HTTP."""
