"""The plot that a cell showed last."""
