"""Indexes of vectors: filtered, small, on disk, distributions."""
