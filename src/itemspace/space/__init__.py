"""The front door: build, open, ask, change, measure."""

from itemspace.space.front import Space

__all__ = ["Space"]
