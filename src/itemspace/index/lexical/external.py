"""A word index of more text than memory holds: runs of postings written aside, then brought together term by term.

The files are those that `BM25Index.save` writes. What stays in memory: the vocabulary (some 150 bytes a distinct word), the
lengths of the texts (4 bytes a field), row and tie (8 bytes), and one run.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itemspace.index.lexical.postings import Postings, Words
from itemspace.index.lexical.segment import Segment, ranges
from itemspace.index.rows import RowMap

RUN_WORDS = 2_000_000
"""Words of texts that make one run: sorting them takes some 50 bytes each."""
BLOCK = 1 << 20
"""Postings copied at once when runs are brought together."""


def write_postings(
    folder: Path, postings: Postings, chunks: Iterable[Any], ties: np.ndarray | None, *, run_words: int = RUN_WORDS
) -> None:
    """Write the index of `chunks` (Texts), whose rows are 0, 1, 2, ..., into `folder`.

    postings: an empty one of the fields to be read; it keeps the vocabulary and the lengths.
    """
    with tempfile.TemporaryDirectory(prefix=".runs-", dir=folder) as aside:
        runs = _Runs(Path(aside), len(postings.fields))
        pending: list[Words] = []
        start = words = 0
        for texts in chunks:
            slots = np.arange(start, start + len(texts), dtype=np.int32)
            start += len(texts)
            pending.append(postings.read(texts, slots))
            words += len(pending[-1][0])
            if words >= run_words:
                runs.write(pending)
                pending, words = [], 0
        if words:
            runs.write(pending)
        del pending
        runs.join(folder, len(postings.analyzer.terms))
    np.save(folder / "lengths.npy", postings.lengths[:start])
    np.save(folder / "alive.npy", postings.alive[:start])
    (folder / "terms.json").write_text(json.dumps(postings.analyzer.terms, ensure_ascii=False), "utf-8")
    held = RowMap.empty()
    held.append(np.arange(start, dtype=np.int32), ties)
    held.save(folder)


@dataclass
class _Runs:
    """Segments on disk, in order of the slots they hold; the slots of a later one are all greater."""

    folder: Path
    fields: int
    count: int = 0

    def write(self, words: list[Words]) -> None:
        """The words of consecutive texts as one run."""
        parts = [np.concatenate(column) for column in zip(*words, strict=True)]
        place = self.folder / f"{self.count:06d}"
        place.mkdir()
        Segment.of(parts[0], parts[1], parts[2], self.fields).save(place)
        self.count += 1

    def _segments(self) -> Iterable[Segment]:
        for number in range(self.count):
            yield Segment.open(self.folder / f"{number:06d}")

    def join(self, folder: Path, terms: int) -> None:
        """All runs as one segment in `folder`: its arrays are mapped files, filled a block at a time."""
        frequency = np.zeros(terms, np.int64)
        for run in self._segments():
            frequency[run.terms] += np.diff(run.offsets)
        held = np.flatnonzero(frequency).astype(np.int32)
        offsets = np.concatenate(([0], np.cumsum(frequency[held])))
        total = int(offsets[-1])
        np.save(folder / "postings_terms.npy", held)
        np.save(folder / "postings_offsets.npy", offsets)
        if total == 0:
            Segment(held, offsets, np.zeros(0, np.int32), np.zeros((self.fields, 0), np.uint16)).save(folder)
            return
        slots = np.lib.format.open_memmap(folder / "postings_slots.npy", "w+", np.int32, (total,))
        counts = np.lib.format.open_memmap(folder / "postings_counts.npy", "w+", np.uint16, (self.fields, total))
        free = np.zeros(terms, np.int64)
        free[held] = offsets[:-1]
        for run in self._segments():
            _place(run, free, slots, counts)
        slots.flush()
        counts.flush()


def _place(run: Segment, free: np.ndarray, slots: np.ndarray, counts: np.ndarray) -> None:
    """Copy a run's postings to where their terms are, behind those of earlier runs; `free` [terms] moves on."""
    lengths = np.diff(run.offsets)
    # Whole terms, about BLOCK postings at a time; a term with more of them is a block of its own.
    cuts = np.searchsorted(run.offsets, np.arange(0, int(run.offsets[-1]) + BLOCK, BLOCK))
    cuts = np.unique(np.append(np.minimum(cuts, len(lengths)), len(lengths)))
    for first, last in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        low, high = int(run.offsets[first]), int(run.offsets[last])
        own = run.terms[first:last]
        to = ranges(free[own], lengths[first:last])
        slots[to] = run.slots[low:high]
        for field in range(len(counts)):
            counts[field][to] = run.counts[field, low:high]
        free[own] += lengths[first:last]
