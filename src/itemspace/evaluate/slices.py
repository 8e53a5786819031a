"""Slices of a task's requests: the groups it came with and those that can be derived from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from itemspace.core.ragged import Ragged
from itemspace.core.task import Task
from itemspace.metrics.values import Items

MAX_LABELS = 12
BANDS = ("head", "mid", "tail", "cold")
"""Bands of popularity, in the order they are told."""
HEAD_SHARE, MID_SHARE = 0.5, 0.8


@dataclass(frozen=True)
class Slice:
    """One way to cut the requests: `codes` int [q] into `labels`, -1 where a request belongs to none."""

    name: str
    codes: np.ndarray
    labels: tuple[str, ...]

    def members(self, label: str) -> np.ndarray:
        """The requests of one label, as a boolean mask [q]."""
        return self.codes == self.labels.index(label)


def from_labels(name: str, values: np.ndarray, *, most: int = MAX_LABELS) -> Slice:
    """A slice from one label per request [q]; beyond `most` labels the rarer ones become "other". Missing is -1."""
    values = np.asarray(values)
    if values.dtype.kind == "f":
        absent = np.isnan(values)
    elif values.dtype == object:
        absent = np.array([v is None for v in values.tolist()], bool)
    else:
        absent = np.zeros(len(values), bool)
    # Numbers keep their order, as do bands of popularity; everything else is sorted as text.
    known = values[~absent] if values.dtype.kind in "iufb" else values[~absent].astype(str)
    found, inverse, counts = np.unique(known, return_inverse=True, return_counts=True)
    if set(found.tolist()) <= set(BANDS):
        place = np.array([BANDS.index(v) for v in found.tolist()], int)
        codes = np.full(len(values), -1)
        codes[~absent] = place[inverse]
        return Slice(name, codes, BANDS)
    labels = [f"{v:g}" if values.dtype.kind == "f" else str(v) for v in found.tolist()]
    codes = np.full(len(values), -1)
    if len(labels) > most:
        kept = np.sort(np.argsort(-counts, kind="stable")[: most - 1])
        place = np.full(len(labels), most - 1)
        place[kept] = np.arange(most - 1)
        codes[~absent] = place[inverse]
        return Slice(name, codes, (*(labels[i] for i in kept.tolist()), "other"))
    codes[~absent] = inverse
    return Slice(name, codes, tuple(labels))


def binned(name: str, values: np.ndarray, edges: Sequence[float], labels: Sequence[str]) -> Slice:
    """A slice by bins: label i holds edges[i - 1] <= value < edges[i] (edges one fewer than labels)."""
    return Slice(name, np.searchsorted(np.asarray(edges), values, side="right"), tuple(labels))


def popularity_band(counts: np.ndarray) -> np.ndarray:
    """0 head, 1 mid, 2 tail, 3 cold for each item [n] by training events.

    Head items are the most popular ones that together hold half of the events, mid items the next ones up to 80%, tail
    the rest that have any event, cold those that have none. Items of equal count share a band.
    """
    counts = np.asarray(counts, np.float64)
    distinct, inverse, held = np.unique(counts, return_inverse=True, return_counts=True)
    mass = (distinct * held)[::-1]
    above = (np.cumsum(mass) - mass)[::-1] / max(1.0, counts.sum())
    band = np.where(above < HEAD_SHARE, 0, np.where(above < MID_SHARE, 1, 2))
    return np.where(distinct == 0, 3, band)[inverse]


def target_counts(relevant: Ragged, counts: np.ndarray) -> np.ndarray:
    """The (lower) median training count of each request's relevant items [q], NaN where it has none."""
    values = counts[relevant.values]
    order = np.lexsort((values, relevant.groups))
    lengths = relevant.lengths
    middle = np.minimum(relevant.offsets[:-1] + np.maximum(lengths - 1, 0) // 2, max(0, len(values) - 1))
    if len(values) == 0:
        return np.full(len(relevant), np.nan)
    return np.where(lengths > 0, values[order][middle], np.nan)


def slices_of(task: Task, items: Items | None = None, extra: Mapping[str, np.ndarray] | None = None) -> list[Slice]:
    """Every slice that the task supports: its own groups, `extra` labels [q], and the derived ones.

    Derived: "target" (head, mid, tail, cold by training counts; of several relevant items the median one), "history
    length", "query length" in words, and "filter selectivity" where requests differ in what may be answered. A group
    that comes with the task replaces a derived one of the same name.
    """
    given = [from_labels(name, labels) for name, labels in {**task.groups, **(extra or {})}.items()]
    names = {s.name for s in given}
    derived = [_target(task, items), _history(task), _words(task), _selectivity(task)]
    kept = given + [s for s in derived if s is not None and s.name not in names]
    return [s for s in kept if len(np.unique(s.codes[s.codes >= 0])) > 1]


def _target(task: Task, items: Items | None) -> Slice | None:
    if items is None or items.counts is None:
        return None
    counts = np.asarray(items.counts)
    typical = target_counts(task.judgments.relevant, counts)
    lookup = dict.fromkeys([0.0], 3) | dict(
        zip(counts.astype(float).tolist(), popularity_band(counts).tolist(), strict=True)
    )
    distinct, inverse = np.unique(np.where(np.isnan(typical), -1.0, typical), return_inverse=True)
    codes = np.array([lookup.get(value, -1) for value in distinct.tolist()])[inverse]
    return Slice("target", codes, BANDS)


def _history(task: Task) -> Slice | None:
    if task.requests.history is None:
        return None
    lengths = task.requests.history.items.lengths
    return binned(
        "history length", lengths, (1, 3, 6, 11, 21, 51), ("0", "1-2", "3-5", "6-10", "11-20", "21-50", "51+")
    )


def _words(task: Task) -> Slice | None:
    if task.requests.text is None:
        return None
    words = np.array([len(text.split()) for text in task.requests.text])
    return binned("query length", words, (2, 3, 5, 9), ("1 word", "2 words", "3-4 words", "5-8 words", "9+ words"))


def _selectivity(task: Task) -> Slice | None:
    chosen = task.candidates
    if chosen is None or chosen.size == 0 or chosen.include is None:
        return None
    share = chosen.counts(len(task)) / chosen.size
    return binned("filter selectivity", share, (0.01, 0.1, 0.5), ("under 1%", "1-10%", "10-50%", "50% or more"))
