"""Generators with a known best answer and a dial that takes it away."""
