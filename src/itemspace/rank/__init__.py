"""Scorers: click models over features, and rerankers."""
