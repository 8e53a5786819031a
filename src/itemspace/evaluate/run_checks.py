"""Run files before they are scored: what is wrong with one, line by line, and how it spells IDs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.core.ids import Ids
from itemspace.data.columns import mask
from itemspace.data.files import load_lines
from itemspace.data.frame import Frame
from itemspace.data.rejects import Rejects

DEPTH = 1_000
COLUMNS = ("query", "Q0", "document", "rank", "score", "tag")
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


@dataclass(frozen=True)
class Problem:
    """Something that keeps a run from being scored. line: from 1 (0: the whole file). column: which field, or ""."""

    file: str
    line: int
    column: str
    value: str
    message: str

    def __str__(self) -> str:
        where = ", ".join(part for part in (self.file, f"line {self.line:,}" if self.line else "", self.column) if part)
        return f"{where}: {self.message}"


@dataclass(frozen=True)
class RunCheck:
    """What a run file is. problems: why it is refused, by line. notes: what a reader should know of a sound one."""

    file: str
    tag: str
    lines: int
    queries: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def sound(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        problems = [vars(problem) for problem in self.problems]
        return {
            "file": self.file, "tag": self.tag, "lines": self.lines, "queries": self.queries, "sound": self.sound,
            "problems": problems, "notes": list(self.notes),
        }  # fmt: skip


def validate_run(path: Path, dataset: Dataset, *, depth: int = DEPTH) -> RunCheck:
    """Check every line of a run against the format and against `dataset`.

    Problems: a line without exactly six fields; a query or document nobody knows; a document twice for a query; a rank
    that is no whole number or a score that is no finite number; ranks that repeat, or that say another order than the
    scores; more than `depth` documents for a query; several tags. Notes: judged queries without a line, equal scores
    (trec_eval orders them by document ID), how deep the run is, judged queries only.

    Raises:
        DataError: the file is missing, empty or cannot be unpacked, or the dataset has no judged queries.
    """
    if dataset.queries is None:
        raise DataError(f"{dataset.name} has no queries to hold a run against")
    bad = Rejects.ignored()
    frame = _fields(path, bad)
    frame, numbers = _numbers(frame, bad)
    query = run_ids(dataset.queries.ids).find(frame.column("query"))
    item = run_ids(dataset.catalog.ids).find(frame.column("document"))
    for name, found in (("query", query), ("document", item)):
        _refuse(bad, frame, found < 0, name, f'"{{value}}" is not a {name} of {dataset.name}')
    known = (query >= 0) & (item >= 0)
    frame, query, item = frame.filter(known), query[known], item[known]
    ranks, scores = numbers[0][known], numbers[1][known]
    notes: list[str] = []
    if len(frame):
        _check_pairs(frame, query, item, bad)
        _check_order(frame, query, ranks, scores, depth, bad, notes)
    tags = frame.column("tag").unique().to_pylist()
    if len(tags) > 1:
        other = mask(pc.not_equal(frame.column("tag"), tags[0]))
        first = np.zeros(len(frame), bool)
        first[np.flatnonzero(other)[:1]] = True
        _refuse(bad, frame, first, "tag", f'a second tag "{{value}}" after "{tags[0]}"; a run has one')
    asked = len(np.unique(query))
    notes += _coverage(dataset, query)
    problems = [
        Problem(path.name, row["row"], row["column"], row["value"], row["problem"]) for row in bad.table().to_pylist()
    ]
    return RunCheck(path.name, tags[0] if tags else "", len(frame), asked, tuple(problems), tuple(notes))


def _fields(path: Path, bad: Rejects) -> Frame:
    """The six fields of every line; lines with another number of them are refused."""
    lines = load_lines(path, bad, separator="\n", names=["line"])
    text = lines.column("line")
    split = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(text))
    lengths = np.asarray(pc.list_value_length(split), np.int64)
    wrong = lengths != len(COLUMNS)
    for found in np.unique(lengths[wrong]).tolist():
        _refuse(bad, lines, lengths == found, "line", f"{found} fields where 6 belong ({' '.join(COLUMNS)}): {{value}}")
    split = split.filter(pa.array(~wrong))
    empty = pa.array([], pa.large_string())
    columns = {name: pc.list_element(split, at) if len(split) else empty for at, name in enumerate(COLUMNS)}
    return Frame(pa.table(columns), lines.file, lines.rows[~wrong])


def _numbers(frame: Frame, bad: Rejects) -> tuple[Frame, np.ndarray]:
    """The lines whose rank and score are numbers, and those: float64 [2, n]."""
    right = np.ones(len(frame), bool)
    for name, pattern, kind in (("rank", r"^\d+$", "whole"), ("score", _NUMBER, "finite")):
        fits = mask(pc.match_substring_regex(frame.column(name), pattern))
        _refuse(bad, frame, ~fits, name, f'"{{value}}" is not a {kind} number')
        right &= fits
    kept = frame.filter(right)
    numbers = [np.asarray(kept.column(name).cast(pa.float64()), np.float64) for name in ("rank", "score")]
    huge = ~np.isfinite(numbers[1])
    _refuse(bad, kept, huge, "score", '"{value}" is not a finite number')
    return kept.filter(~huge), np.stack(numbers)[:, ~huge]


def _check_pairs(frame: Frame, query: np.ndarray, item: np.ndarray, bad: Rejects) -> None:
    first = np.zeros(len(query), bool)
    first[np.unique(query.astype(np.int64) << 32 | item, return_index=True)[1]] = True
    _refuse(bad, frame, ~first, "document", 'document "{value}" stands twice for one query')


def _check_order(
    frame: Frame, query: np.ndarray, ranks: np.ndarray, scores: np.ndarray, depth: int, bad: Rejects, notes: list[str]
) -> None:
    order = np.lexsort((ranks, query))
    q, rank, score = query[order], ranks[order], scores[order]
    same = np.concatenate(([False], q[1:] == q[:-1]))
    step = np.concatenate(([0.0], np.diff(score)))
    for wrong, name, problem in (
        (same & (np.concatenate(([1.0], np.diff(rank))) == 0), "rank", 'rank "{value}" stands twice for one query'),
        (same & (step > 0), "score", "score {value} is above that of the rank before it; ranks and scores disagree"),
    ):
        at = np.zeros(len(q), bool)
        at[order[wrong]] = True
        _refuse(bad, frame, at, name, problem)
    place = np.arange(len(q)) - np.maximum.accumulate(np.where(~same, np.arange(len(q)), 0))
    deep = np.zeros(len(q), bool)
    deep[order[place == depth]] = True
    _refuse(bad, frame, deep, "query", f'more than {depth:,} documents for query "{{value}}"')
    tied = int((same & (step == 0)).sum())
    if tied:
        notes.append(f"{tied:,} scores equal the one before them: trec_eval orders those by document ID, not by rank")
    counts = np.bincount(query)
    counts = counts[counts > 0]
    notes.append(f"documents per query: {counts.min():,} to {counts.max():,}, median {np.median(counts):g}")


def _coverage(dataset: Dataset, query: np.ndarray) -> Iterator[str]:
    if dataset.judgments is None or dataset.queries is None:
        return
    judged = np.flatnonzero(np.diff(dataset.judgments.items.offsets) > 0)
    missing = np.setdiff1d(judged, query)
    if len(missing):
        named = ", ".join(str(name) for name in dataset.queries.ids.decode(missing[:3]))
        yield f"{len(missing):,} of {len(judged):,} judged queries have no line and score 0: {named}"
    beside = len(np.setdiff1d(query, judged))
    if beside:
        yield f"{beside:,} queries of the run are not judged and not counted"


def _refuse(bad: Rejects, frame: Frame, wrong: np.ndarray, column: str, problem: str) -> None:
    values = frame.column(column).filter(pa.array(wrong)).to_pylist()
    bad.add(frame.file, frame.rows[wrong], column if column != "line" else "", values, problem)


def run_ids(ids: Ids) -> Ids:
    """The IDs as a run file spells them: as they are, or percent-encoded where one holds white space ("a b" is a%20b)."""
    if not mask(pc.match_substring_regex(ids.values, r"\s")).any():
        return ids
    return Ids([quote(name, safe="") for name in ids.values.to_pylist()], kind=ids.kind)
