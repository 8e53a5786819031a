"""Spaces behind HTTP: what holds them under load, the API, and the page to try them."""
