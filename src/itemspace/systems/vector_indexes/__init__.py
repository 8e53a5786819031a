"""Indexes of vectors: approximate, filtered, compressed, of distributions."""
