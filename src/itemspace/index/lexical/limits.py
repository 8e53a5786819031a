"""`Limits`: a `Selection` as slots of a lexical index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itemspace.core.errors import ContractError
from itemspace.core.ragged import Ragged
from itemspace.core.selection import Selection
from itemspace.index.rows import RowMap


@dataclass(frozen=True)
class Limits:
    """Which slots may answer.

    mask: bool [slots] for every query, None where all may. include, exclude: slots per query (Ragged int32, those the
    index does not hold left out, repeats allowed), None for no such limit.
    """

    mask: np.ndarray | None = None
    include: Ragged | None = None
    exclude: Ragged | None = None

    @classmethod
    def of(cls, rows: RowMap, within: Selection | None, queries: int) -> Limits:
        """`within` over the slots of `rows`. Postings of dead slots are no matches, whatever the mask says of them.

        Raises:
            ContractError: the selection's per-request lists are for another number of queries.
        """
        if within is None or within.is_all:
            return NO_LIMITS
        return cls(rows.mask(within), _slots(rows, within.include, queries), _slots(rows, within.exclude, queries))

    @property
    def per_request(self) -> bool:
        return self.include is not None or self.exclude is not None

    def take(self, start: int, stop: int) -> Limits:
        """The limits of queries `start` to `stop`."""
        numbers = np.arange(start, stop)
        include = None if self.include is None else self.include.take(numbers)
        exclude = None if self.exclude is None else self.exclude.take(numbers)
        return Limits(self.mask, include, exclude)

    def permits(self, query: np.ndarray, slot: np.ndarray, queries: int, width: int) -> np.ndarray:
        """For pairs (query [m], slot [m] below `width`): whether the per-request lists allow them [m]."""
        table = np.full(queries * width, self.include is None)
        if self.include is not None:
            table[self.include.groups * width + self.include.values] = True
        if self.exclude is not None:
            table[self.exclude.groups * width + self.exclude.values] = False
        return table[query * width + slot]


NO_LIMITS = Limits()


def _slots(rows: RowMap, lists: Ragged | None, queries: int) -> Ragged | None:
    if lists is None:
        return None
    if len(lists) != queries:
        raise ContractError(f"the selection limits {len(lists):,} requests, but {queries:,} queries were given.")
    slots = lists.with_values(rows.slots_of(lists.values))
    return slots.filter(slots.values >= 0)
