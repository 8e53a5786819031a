"""TREC qrels and runs, read and written.

A qrels line is `query iteration document grade`, a run line `query Q0 document rank score tag`; white space separates.
`TrecReader` reads a folder or file of qrels alone: the judged documents are items with an ID only. Negative grades (spam,
in web tracks) are read as they are and count as not relevant.

Source: NIST trec_eval.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.core.hits import Hits
from itemspace.core.ids import Ids
from itemspace.core.judgments import Judgments, Queries
from itemspace.data.columns import mask
from itemspace.data.files import load_lines
from itemspace.data.frame import Frame
from itemspace.data.reader import Reader, Reading, bare_catalog, head, queries_of

_QRELS = ["query", "iteration", "item", "grade"]
_RUN = ["query", "q0", "item", "rank", "score", "tag"]


class TrecReader(Reader):
    """A file of qrels: queries by number, judged documents by ID."""

    config: Config
    name = "trec"
    looks_for = "a qrels file with lines `query iteration document grade` (TREC)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        file = _file(path)
        if file is None:
            return False
        lines = [line.split() for line in head(file).split(b"\n")[:-1][:5]]
        return bool(lines) and all(
            len(line) == 4 and line[3].lstrip(b"-").isdigit() and line[1] in (b"0", b"Q0") for line in lines
        )

    def read(self, path: Path, reading: Reading) -> Dataset:
        file = _file(path)
        if file is None:
            raise DataError("no qrels file is here.", file=str(path))
        reading.files.append(file.name)
        frame = load_lines(file, reading.rejects, separator=None, names=_QRELS)
        names = frame.column("query").unique().to_pylist()
        queries = queries_of(names, names)
        catalog = bare_catalog(frame.column("item"), seed=reading.seed, name="docno")
        catalog, judgments = reading.judgments(frame, catalog, queries, query="query", item="item", grade="grade")
        return reading.dataset(path, self.name, catalog, queries=queries, judgments=judgments)


def _file(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix in ("", ".txt", ".qrels", ".qrel", ".test") or "qrel" in path.name else None
    found = sorted([*path.glob("qrels*"), *path.glob("*.qrels")])
    return next((file for file in found if file.is_file() and file.suffix not in (".tsv", ".jsonl")), None)


def read_qrels(path: Path, queries: Queries, ids: Ids, *, reading: Reading | None = None) -> Judgments:
    """Judgments of `queries` over the items `ids`; lines about other queries or items are rejected."""
    from itemspace.core.catalog import Catalog
    from itemspace.core.schema import Schema

    reading = reading or Reading()
    frame = load_lines(path, reading.rejects, separator=None, names=_QRELS)
    catalog = Catalog(pa.table({"docno": ids.values}), Schema({"docno": "id"}), ids)
    return reading.judgments(frame, catalog, queries, query="query", item="item", grade="grade")[1]


def write_qrels(path: Path, judgments: Judgments, queries: Queries, ids: Ids) -> None:
    """One line per judged pair, grades as whole numbers where they are."""
    groups = queries.ids.decode(judgments.items.groups)
    items = ids.decode(judgments.items.values)
    lines = [f"{q} 0 {i} {g:g}\n" for q, i, g in zip(groups, items, judgments.grades.tolist(), strict=True)]
    path.write_text("".join(lines), encoding="utf-8")


def read_run(path: Path, queries: Queries, ids: Ids, *, k: int | None = None, reading: Reading | None = None) -> Hits:
    """A run as `Hits` [queries, k], ranked by score as trec_eval does (the rank column is not consulted).

    Ties are in order of document ID, descending, which is trec_eval's rule. Lines about unknown queries or documents
    are rejected; a query without lines has no hits.
    """
    reading = reading or Reading()
    frame = reading.numbers(load_lines(path, reading.rejects, separator=None, names=_RUN), "score")
    query, item = queries.ids.find(frame.column("query")), ids.find(frame.column("item"))
    frame, query, item = _known(frame, query, item, reading)
    order = np.argsort(pa.compute.sort_indices(frame.column("item"), sort_keys=[("", "descending")]).to_numpy())
    scores = np.asarray(frame.column("score"), np.float64)
    by_rank = np.lexsort((order, -scores, query))
    query, item, scores = query[by_rank], item[by_rank], scores[by_rank]
    counts = np.bincount(query, minlength=len(queries))
    rank = np.arange(len(query)) - np.concatenate(([0], np.cumsum(counts)))[:-1][query]
    hits = Hits.empty(len(queries), k or max(int(counts.max(initial=0)), 1), ids=ids)
    keep = rank < hits.k
    hits.rows[query[keep], rank[keep]] = item[keep]
    hits.scores[query[keep], rank[keep]] = scores[keep]
    return hits


def _known(frame: Frame, query: np.ndarray, item: np.ndarray, reading: Reading) -> tuple[Frame, np.ndarray, np.ndarray]:
    for column, found in (("query", query), ("item", item)):
        bad = found < 0
        reading.rejects.add(
            frame.file, frame.rows[bad], column, frame.column(column).filter(pa.array(bad)).to_pylist(),
            f'"{{value}}" is not a known {column}',
        )  # fmt: skip
    keep = (query >= 0) & (item >= 0)
    frame, query, item = frame.filter(keep), query[keep], item[keep]
    key = query.astype(np.int64) << 32 | item
    first = np.zeros(len(key), bool)
    first[np.unique(key, return_index=True)[1]] = True
    again = ~first
    reading.rejects.add(
        frame.file, frame.rows[again], "item", frame.column("item").filter(pa.array(again)).to_pylist(),
        'document "{value}" is ranked twice for one query',
    )  # fmt: skip
    return frame.filter(first), query[first], item[first]


def write_run(path: Path, hits: Hits, queries: Queries, *, tag: str = "itemspace") -> None:
    """`hits` as a run, ranks from 1.

    Raises:
        DataError: an ID or the tag holds white space, which the format cannot carry.
    """
    assert hits.ids is not None
    rows, ranks = np.nonzero(hits.rows >= 0)
    items = pa.array(hits.ids.decode(hits.rows[rows, ranks]), pa.large_string())
    names = queries.ids.values.take(pa.array(rows))
    for what, values in (("query", names), ("document", items), ("tag", pa.array([tag], pa.large_string()))):
        spaced = mask(pa.compute.match_substring_regex(values, r"\s"))
        if spaced.any():
            bad = values[int(np.flatnonzero(spaced)[0])].as_py()
            raise DataError(f'the {what} "{bad}" holds white space, which a run cannot carry.', file=path.name)
    scores = hits.scores[rows, ranks].tolist()
    lines = [
        f"{q} Q0 {i} {r + 1} {s!r} {tag}\n"
        for q, i, r, s in zip(names.to_pylist(), items.to_pylist(), ranks.tolist(), scores, strict=True)
    ]
    path.write_text("".join(lines), encoding="utf-8")
