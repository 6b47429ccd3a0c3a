"""Replies, requests and errors as sanitized HTML and plain text."""
