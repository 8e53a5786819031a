"""Indexes: vectors or words to candidates, with filters before the cut and live changes."""
