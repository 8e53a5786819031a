"""Several vectors per item."""
