"""The verbs that show a Space: its items, its map, what was measured of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from itemspace.core.artifacts import Artifact
from itemspace.core.asking import check_k
from itemspace.core.dataset import Dataset
from itemspace.core.errors import RequestError
from itemspace.core.taking import take_rows
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.space import changes
from itemspace.space.live import Live
from itemspace.space.lock import ReadWriteLock
from itemspace.space.suggesting import title_column
from itemspace.store.contract import Store

if TYPE_CHECKING:
    from itemspace.core.report import Report
    from itemspace.evaluate.embeddings.analysis import Settings
    from itemspace.space.front import Space
    from itemspace.space.mapping import ItemMap, Source


_CELLS = 256
"""Values up to which they are read one by one."""


def quiet(_: str) -> None:
    """Told the steps of what takes long, and says nothing."""


class Showing:
    """What is looked at; `Space` brings the parts."""

    path: Path
    _artifact: Artifact
    _store: Store
    _live: Live
    _lock: ReadWriteLock

    def evaluate(self, *, k: int = 10, keep: bool = True) -> dict[str, Report]:
        """Measure what this Space answers: "search" on its judged queries (on the half that tuned nothing), and
        "recommendation" on held-out events with the recipe's recommender fitted to the rest, baselines beside both.

        keep: put the reports beside the generations, where `last_report` finds them.

        Raises:
            RequestError: there is nothing to measure against.
        """
        from itemspace.space.evaluation import evaluate
        from itemspace.space.reports import keep_reports

        check_k(k)
        about = self._made_of()
        reports = evaluate(cast("Space", self), k=k)
        if keep:
            try:
                keep_reports(self.path, reports, about)
            except OSError as error:
                warnings.warn(f"the reports could not be kept in {self.path}: {error.strerror}.", stacklevel=2)
        return reports

    def last_report(self) -> dict[str, Report] | None:
        """The reports that `evaluate` kept last, by name, or None. Nothing is measured.

        `provenance["kept"]` of each says when (`at`) and of which `generation` and store `version`; `stale` is true where
        the Space is another one now.

        Raises:
            ArtifactError: a report is damaged. FormatVersionError: a newer itemspace wrote it.
        """
        from itemspace.space.reports import kept_reports

        return kept_reports(self.path, self._made_of()) or None

    def _made_of(self) -> dict[str, Any]:
        return {"generation": self._artifact.generation, "version": self._live.version}

    def map(
        self,
        by: str = "text",
        *,
        color: str | None = None,
        limit: int = 20_000,
        say: Callable[[str], object] = quiet,
    ) -> ItemMap:
        """The items as points in a square, what is alike close together; computed once, then kept beside the generations.

        by: "text" (the vectors of their words) or "behavior" (who used them; items without events are left out).
        color: a category column; its most frequent values get a color each. limit: above it a sample is shown, always the
        same. Points stay where they are while items come, change and go, until a fifth has changed. say: told the steps.

        Raises:
            RequestError: an impossible `by`, `limit` or color, or nothing to map by. SchemaError: no such column.
        """
        from itemspace.space import mapping

        mapping.check(by, limit)
        return mapping.item_map(self._source(by), by, color, int(limit), say)

    def vectors(self, by: str = "text") -> tuple[list[str], Dense]:
        """The vectors of the living items: their external IDs [n], and vectors [n, d].

        by: "text" (what the encoder made of their words) or "behavior" (who used them; items without events are left out).

        Raises:
            RequestError: there are no such vectors.
        """
        from itemspace.space import mapping

        mapping.check(by, 1)
        source = self._source(by)
        rows, values = mapping.vectors_of(source, by, None)
        if by == "text":
            assert self._live.encoder is not None
            space = self._live.encoder.space
        else:
            space = VectorSpace(f"behavior-{source.generation}-{source.version}", values.shape[1], "cosine")
        return [str(name) for name in source.catalog.ids.decode(rows)], Dense(values, space)

    def analyze(
        self,
        others: Mapping[str, Space] | None = None,
        *,
        settings: Settings | None = None,
        keep: bool = True,
        say: Callable[[str], object] = quiet,
    ) -> Report:
        """What the vectors of this Space are like (spectrum, dimension, isotropy, hubs, dispensable dimensions), and how far

        they agree with each other and with those of `others`, Spaces over the same items. keep: put the report beside the
        generations, where `last_report` finds it.

        Raises:
            RequestError: no vectors, or no items that all have.
        """
        from itemspace.evaluate.embeddings.analysis import Settings, analyze, common
        from itemspace.space.reports import keep_reports

        about = self._made_of()
        spaces = {"": self, **{f"{name}: ": space for name, space in (others or {}).items()}}
        named = {f"{prefix}{by}": space.vectors(by) for prefix, space in spaces.items() for by in space._has_vectors()}
        report = analyze(common(named)[1], settings or Settings(), say=say)
        if keep:
            keep_reports(self.path, {"embeddings": report}, about)
        return report

    def _has_vectors(self) -> list[str]:
        live = self._live
        behavior = live.recommender is not None and len(live.histories.pairs()[0]) > 0
        return ["text"] * (live.dense is not None) + ["behavior"] * behavior

    def _source(self, by: str) -> Source:
        """What the map and the vectors are made from, taken while nothing changes."""
        from itemspace.space import mapping

        with self._lock.read():
            live = self._live
            if by == "text" and live.dense is None:
                raise RequestError("this Space has no vectors of words; build it with an encoder.")
            return mapping.Source(
                self.path,
                self._artifact.generation,
                live.version,
                live.catalog,
                self._store,
                live.recipe.seed,
                live.histories.pairs() if by == "behavior" else None,
            )

    def dataset(self) -> Dataset:
        """Everything the Space holds, as a dataset (for another split, model or recipe)."""
        return changes.dataset_of(self._live, self._store, name=self.path.name)

    def fields(self, rows: Sequence[int], columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The items at `rows` as dictionaries of `columns` (default: all).

        Raises:
            SchemaError: no such column. RequestError: a row the catalogue does not have.
        """
        catalog = self._live.catalog
        if len(rows) and not (min(rows) >= 0 and max(rows) < len(catalog)):
            raise RequestError(f"rows run from 0 to {len(catalog) - 1:,}, got {min(rows):,} to {max(rows):,}.")
        for name in columns or ():
            catalog.schema[name]
        if len(rows) * len(columns or ()) <= _CELLS and columns:
            return catalog.cells.rows(rows, columns)
        table = catalog.table.select(list(columns)) if columns is not None else catalog.table
        return take_rows(table, np.asarray(rows, np.int64)).to_pylist()

    def shown_columns(self) -> list[str]:
        """The few columns a person wants beside an ID: what it is called, of which kind, at what price."""
        schema = self._live.catalog.schema
        title = title_column(schema)
        shown = ([] if title is None else [title]) + schema.columns("category")[:1]
        shown += [name for name in schema.columns("number") if "price" in name.lower()][:1]
        shown += [name for name in schema.columns("boolean") if "stock" in name.lower()][:1]
        return shown
