"""`Selection`: which rows may be answered, as compiled from `where` and per-request exclusions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from itemspace.core.ragged import Ragged, distinct


@dataclass(frozen=True)
class Selection:
    """Rows that may come back, for a whole batch and, optionally, per request.

    size: rows in the catalogue. rows: sorted int32 rows allowed for every request, None for all.
    include: rows allowed per request (intersected with `rows`), None for no such limit.
    exclude: rows that must not come back, per request, None for none.
    """

    size: int
    rows: np.ndarray | None = None
    include: Ragged | None = None
    exclude: Ragged | None = None

    @classmethod
    def all(cls, size: int) -> Selection:
        return cls(size)

    @classmethod
    def of_mask(cls, mask: np.ndarray) -> Selection:
        """Rows where `mask` [n] is true."""
        if mask.all():
            return cls(len(mask))
        return cls(len(mask), np.flatnonzero(mask).astype(np.int32))

    @classmethod
    def of_rows(cls, rows: np.ndarray, size: int) -> Selection:
        return cls(size, np.unique(np.asarray(rows, np.int32)))

    @property
    def is_all(self) -> bool:
        return self.rows is None and self.include is None and self.exclude is None

    @property
    def per_request(self) -> bool:
        """True when requests of one batch may have different answers."""
        return self.include is not None or self.exclude is not None

    @property
    def count(self) -> int:
        """Rows allowed for the whole batch, before per-request limits."""
        return self.size if self.rows is None else len(self.rows)

    @property
    def selectivity(self) -> float:
        """`count` as a share of the catalogue, in [0, 1]."""
        return self.count / self.size if self.size else 0.0

    @cached_property
    def mask(self) -> np.ndarray:
        """bool [size] of the batch-level rows."""
        alike: Selection | None = self.__dict__.get("_alike")
        if alike is not None:
            return alike.mask
        if self.rows is None:
            return np.ones(self.size, bool)
        out = np.zeros(self.size, bool)
        out[self.rows] = True
        return out

    def rows_for(self, request: int) -> np.ndarray:
        """The rows allowed for one request, everything applied: the slow, obvious reference."""
        allowed = self.mask.copy()
        if self.include is not None:
            mine = np.zeros(self.size, bool)
            mine[self.include[request]] = True
            allowed &= mine
        if self.exclude is not None:
            gone = self.exclude[request]
            allowed[gone[(gone >= 0) & (gone < self.size)]] = False
        return np.flatnonzero(allowed).astype(np.int32)

    def counts(self, requests: int) -> np.ndarray:
        """How many rows each of `requests` requests may be answered with [q]."""
        if not self.per_request:
            return np.full(requests, self.count)
        if self.include is not None:
            # Distinct, allowed and not excluded pairs, without a [q, n] mask.
            pairs = distinct(self.include.groups * self.size + self.include.values, requests * self.size)
            pairs = pairs[self.mask[pairs % self.size]]
            if self.exclude is not None:
                pairs = np.setdiff1d(pairs, self.exclude.groups * self.size + self.exclude.values)
            return np.bincount(pairs // self.size, minlength=requests)
        assert self.exclude is not None
        valid = (self.exclude.values >= 0) & (self.exclude.values < self.size)
        pairs = distinct(self.exclude.groups[valid] * self.size + self.exclude.values[valid], requests * self.size)
        removed = np.bincount((pairs // self.size)[self.mask[pairs % self.size]], minlength=requests)
        return self.count - removed

    def allows(self, request: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """For pairs (request [m], row [m]): whether the row may answer the request [m]."""
        ok = (rows >= 0) & (rows < self.size)
        if not ok.any():
            return ok
        safe = np.where(ok, rows, 0).astype(np.int64)
        ok &= self.mask[safe]
        keys = np.asarray(request, np.int64) * self.size + safe
        if self.include is not None:
            ok &= np.isin(keys, self.include.groups * self.size + self.include.values)
        if self.exclude is not None:
            ok &= ~np.isin(keys, self.exclude.groups * self.size + self.exclude.values)
        return ok

    def and_rows(self, other: Selection | None) -> Selection:
        """Both limits at once (batch level intersected; the per-request parts of both kept)."""
        if other is None or other.is_all:
            return self
        if self.rows is None:
            rows = other.rows
        elif other.rows is None:
            rows = self.rows
        else:
            rows = np.intersect1d(self.rows, other.rows, assume_unique=True)
        exclude = _both(self.exclude, other.exclude)
        include = self.include if self.include is not None else other.include
        if self.include is not None and other.include is not None:
            keep = np.isin(
                self.include.groups * self.size + self.include.values,
                other.include.groups * self.size + other.include.values,
            )
            include = self.include.filter(keep)
        return Selection(max(self.size, other.size), rows, include, exclude)

    def excluding(self, exclude: Ragged | None) -> Selection:
        """The same rows less those of `exclude`, per request."""
        if exclude is None or len(exclude.values) == 0:
            return self
        return self._limited(self.include, exclude if self.exclude is None else self.exclude.concat(exclude))

    def take(self, requests: np.ndarray) -> Selection:
        """The selection of some of the batch's requests."""
        return self._limited(
            None if self.include is None else self.include.take(requests),
            None if self.exclude is None else self.exclude.take(requests),
        )

    def _limited(self, include: Ragged | None, exclude: Ragged | None) -> Selection:
        """The same batch-level rows, whose mask is made once for all, with other limits per request."""
        made = replace(self, include=include, exclude=exclude)
        made.__dict__["_alike"] = self.__dict__.get("_alike", self)
        return made

    def resized(self, size: int) -> Selection:
        """The same rows in a catalogue of `size` rows. `all` stays all."""
        if size == self.size:
            return self
        if self.rows is not None and size < self.size:
            return replace(self, size=size, rows=self.rows[self.rows < size])
        return replace(self, size=size)


def _both(a: Ragged | None, b: Ragged | None) -> Ragged | None:
    if a is None or b is None:
        return a if b is None else b
    return a.concat(b)
