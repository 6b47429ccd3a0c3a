"""Outputs that change after their cell."""
