"""Vectors to other vectors: to fewer dimensions that keep what matters, or to two that can be looked at."""

from itemspace.adapt.adapter import Adapter, AdapterConfig
from itemspace.adapt.map import Layout, layout, neighbors_kept, principal

__all__ = ["Adapter", "AdapterConfig", "Layout", "layout", "neighbors_kept", "principal"]
