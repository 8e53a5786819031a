"""`DatabaseSearch`: a store's database as the search engine itself, a `Retriever` like any other.

A filter in words goes to the database as a condition of its own language; a `Selection` goes as rows.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from itemspace.core.asking import check_k, told
from itemspace.core.contracts import Encoder, Retriever
from itemspace.core.errors import ContractError, FilterError
from itemspace.core.explain import Explanation, Stopwatch
from itemspace.core.hits import Hits
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense
from itemspace.core.where import Expression, parse_where
from itemspace.core.where.check import Checked, check

if TYPE_CHECKING:
    from itemspace.core.catalog import Catalog

SPARE = 16
"""Candidates asked for beyond k, so that equal scores at the cut are ordered as everywhere else."""


@dataclass(frozen=True)
class Pushed:
    """A filter for the database: an expression that fits the columns, and what of it was found out about them."""

    expression: Expression
    checked: Checked


class DatabaseSearch(Retriever):
    """What every database's retriever does first and last; `_best` is the database's."""

    consumes: tuple[str, ...] = ("text",)
    exact: bool | None = None

    def search(self, requests: Requests, k: int, where: str | Expression | Selection | None = None) -> Hits:
        check_k(k)
        requests.require(*self.consumes, by=type(self).__name__)
        watch = Stopwatch()
        pushed, within = self._limits(where)
        if requests.exclude is not None:
            size = max(
                int(requests.exclude.values.max(initial=-1)) + 1, 0 if self.catalog is None else len(self.catalog)
            )
            within = (within or Selection.all(size)).excluding(requests.exclude)
        rows, scores = self._best(requests, k + SPARE, pushed, within)
        hits = Hits.ranked(rows, scores, None if self.catalog is None else self.catalog.ids, k=k)
        if hits.k < k:
            wide = Hits.empty(len(requests), k)
            wide.rows[:, : hits.k], wide.scores[:, : hits.k] = hits.rows, hits.scores
            hits = replace(wide, ids=hits.ids)
        filtered = told(within, len(requests))
        if pushed is not None:
            filtered = f"{pushed.expression} in the database before the cut" + (f"; {filtered}" if filtered else "")
        step = Explanation(repr(self), watch.milliseconds, len(requests), k, filtered, self.exact)
        return replace(hits, explanation=step)

    def _limits(self, where: str | Expression | Selection | None) -> tuple[Pushed | None, Selection | None]:
        """A filter as what the database can do itself, and the rest as rows."""
        if where is None or isinstance(where, Selection):
            return None, where
        catalog = self.catalog
        source = where if isinstance(where, str) else None
        if catalog is None:
            raise FilterError(
                "a filter in words needs a catalogue to be understood: call retriever.bind(catalog) first.",
                expression=source,
            )
        expression = parse_where(where) if isinstance(where, str) else where
        checked = check(expression, catalog.table, kinds=catalog.schema.kinds, source=source)
        pushed = Pushed(expression, checked)
        return (pushed, None) if self._can(pushed, catalog) else (None, catalog.where(where))

    def _can(self, pushed: Pushed, catalog: Catalog) -> bool:
        """Whether the database answers this filter as `where.evaluate` does."""
        return True

    @abstractmethod
    def _best(
        self, requests: Requests, k: int, pushed: Pushed | None, within: Selection | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows [q, c] and scores [q, c] of at most `k` candidates each, absent ones -1: all that match, where fewer do."""


class VectorSearch(DatabaseSearch):
    """Requests encoded and looked up among the vectors that the store keeps under a name."""

    def __init__(self, encoder: Encoder, name: str) -> None:
        self.encoder, self.name = encoder, name
        self.consumes = encoder.consumes

    @property
    def operator(self) -> str:
        """How the database measures: "ip", "cosine" or "l2"."""
        space = self.encoder.space
        if space.metric == "euclidean":
            return "l2"
        return "cosine" if space.metric == "cosine" and not space.normalized else "ip"

    def queries(self, requests: Requests) -> np.ndarray:
        """float32 [q, d].

        Raises:
            ContractError: the encoder makes something else than one vector per request.
        """
        made = self.encoder.encode(requests, role="query")
        if not isinstance(made, Dense) or made.values.dtype.kind != "f":
            raise ContractError(f"a database searches dense vectors; {type(self.encoder).__name__} makes others.")
        return np.asarray(made.values, np.float32)

    def __repr__(self) -> str:
        return f"{type(self.encoder).__name__} >> {type(self).__name__}"
