"""Moving events and judgments to the rows of a catalogue that has gained items."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from itemspace.core.ids import Ids
from itemspace.core.interactions import Impressions, Interactions

Part = TypeVar("Part")


def moved(part: Part, items: Ids) -> Part:
    """`part` over the item vocabulary `items`, which holds every item it speaks of."""
    if isinstance(part, (Interactions, Impressions)) and part.items != items:
        return replace(part, item=items.find(part.items.values)[part.item], items=items)
    return part
