"""Representations to `Codes`."""
