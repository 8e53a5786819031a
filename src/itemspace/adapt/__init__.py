"""Vectors to other vectors: here, to two coordinates that can be looked at."""

from itemspace.adapt.map import Layout, layout, neighbors_kept, principal

__all__ = ["Layout", "layout", "neighbors_kept", "principal"]
