"""Hybrid and product-search systems."""
