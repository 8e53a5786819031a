"""MS MARCO passage ranking: `collection.tsv`, `queries.SPLIT.tsv`, `qrels.SPLIT.tsv`, and what training and reranking read.

Lines are separated by tabs and have no header: `collection.tsv` pid, passage; `queries.*.tsv` qid, text; `qrels.*.tsv` qid,
0, pid, grade; `qidpidtriples.*.tsv` qid, right pid, wrong pid; `top1000.*` qid, pid, query, passage. Queries that a split
judges are read, in the order of the queries file.

`split` names the queries and qrels (default: dev.small, dev, train, the first there is). `triples` reads the wrong
passages of `qidpidtriples.*.tsv` as judged 0, to be learned against. Without a collection the passages of `top1000.SPLIT`
are the items (reranking). The whole catalogue is held in memory: 8.8 million passages take about 6 GB.

Source: Nguyen et al. 2016; microsoft/MSMARCO-Passage-Ranking.
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
from itemspace.core.judgments import Queries
from itemspace.data.columns import mask
from itemspace.data.files import load_lines
from itemspace.data.frame import Frame
from itemspace.data.reader import Reader, Reading, queries_of
from itemspace.data.readers.pairs import first_of

SPLITS = ("dev.small", "dev", "train")


class MsMarcoConfig(Config):
    split: str | None = None
    triples: bool = False


class MsMarcoReader(Reader):
    """Passages, the judged queries of one split, their judgments."""

    config: MsMarcoConfig
    name = "msmarco"
    looks_for = "collection.tsv (or top1000.*) with queries.*.tsv and qrels.*.tsv (MS MARCO passages)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        return path.is_dir() and bool(_splits(path)) and (_found(path, "collection") or _top(path, "") is not None)

    def read(self, path: Path, reading: Reading) -> Dataset:
        splits = _splits(path)
        split = self.config.split or next((s for s in (*SPLITS, *splits) if s in splits), None)
        if split not in splits:
            raise DataError(f"there is no split `{split}`; there are {', '.join(splits) or 'none'}.", file=str(path))
        catalog = reading.catalog(self._passages(path, split, reading), kinds={"pid": "id", "passage": "text"})
        labels = self._load(path, f"qrels.{split}", ["qid", "iteration", "pid", "grade"], reading)
        if self.config.triples:
            labels = self._with_triples(path, labels, reading)
        asked = self._load(path, f"queries.{split}", ["qid", "text"], reading)
        asked = reading.unique(reading.with_ids(asked, "qid"), "qid", "refuse")
        asked = asked.filter(mask(pa.compute.is_in(asked.column("qid"), labels.column("qid"))))
        queries = queries_of(asked.column("qid").to_pylist(), asked.column("text").to_pylist())
        catalog, judgments = reading.judgments(labels, catalog, queries, query="qid", item="pid", grade="grade")
        return reading.dataset(path, self.name, catalog, queries=queries, judgments=judgments, source={"split": split})

    def _passages(self, path: Path, split: str, reading: Reading) -> Frame:
        if _found(path, "collection"):
            return self._load(path, "collection", ["pid", "passage"], reading)
        file = _top(path, split)
        if file is None:
            raise DataError(f"neither collection.tsv nor top1000.{split} is here.", file=str(path))
        reading.files.append(file.name)
        reading.notes.append("collection.tsv is absent; the candidates to rerank are the items")
        frame = load_lines(file, reading.rejects, separator="\t", names=["qid", "pid", "query", "passage"])
        return first_of(frame, "pid", "passage", as_id="pid", as_text="passage")

    def _with_triples(self, path: Path, labels: Frame, reading: Reading) -> Frame:
        files = sorted(path.glob("qidpidtriples.*"))
        if not files:
            raise DataError("no qidpidtriples.* is here.", file=str(path), hint="Leave out `triples`.")
        reading.files.append(files[0].name)
        frame = load_lines(files[0], reading.rejects, separator="\t", names=["qid", "right", "wrong"])
        tab = pa.scalar("\t", pa.large_string())
        right = pa.compute.binary_join_element_wise(labels.column("qid"), labels.column("pid"), tab)
        wrong = pa.compute.binary_join_element_wise(frame.column("qid"), frame.column("wrong"), tab)
        frame = frame.filter(~mask(pa.compute.is_in(wrong, right)))
        more = pa.table({
            "qid": frame.column("qid"),
            "iteration": pa.array(["0"] * len(frame), pa.large_string()),
            "pid": frame.column("wrong"),
            "grade": pa.array(["0"] * len(frame), pa.large_string()),
        })  # fmt: skip
        table = pa.concat_tables([labels.table, more.cast(labels.table.schema)])
        return Frame(table, labels.file, np.concatenate([labels.rows, frame.rows]))

    def _load(self, path: Path, stem: str, names: list[str], reading: Reading) -> Frame:
        file = next(f for f in (path / f"{stem}.tsv", path / f"{stem}.tsv.gz") if f.exists())
        reading.files.append(file.name)
        return load_lines(file, reading.rejects, separator="\t", names=names)


def _splits(path: Path) -> list[str]:
    """The splits that have both queries and qrels."""
    found = [file.name.removeprefix("qrels.").split(".tsv")[0] for file in sorted(path.glob("qrels.*.tsv*"))]
    return [split for split in found if _found(path, f"queries.{split}")]


def _found(path: Path, stem: str) -> bool:
    return (path / f"{stem}.tsv").exists() or (path / f"{stem}.tsv.gz").exists()


def _top(path: Path, split: str) -> Path | None:
    """The candidates of a split; of "dev" where it is "dev.small"; of any where it is ""."""
    wanted = [split, split.split(".")[0]] if split else [""]
    return next((file for name in wanted for file in sorted(path.glob(f"top1000.{name}*"))), None)


def read_top1000(path: Path, queries: Queries, ids: Ids, *, reading: Reading | None = None) -> Hits:
    """The candidates of `queries` in a `top1000.*` file as `Hits` in file order; scores fall by 1 a place.

    Lines about queries or passages that are not known are passed over.
    """
    reading = reading or Reading()
    frame = load_lines(path, reading.rejects, separator="\t", names=["qid", "pid", "query", "passage"])
    query, item = queries.ids.find(frame.column("qid")), ids.find(frame.column("pid"))
    known = (query >= 0) & (item >= 0)
    query, item = query[known], item[known]
    order = np.argsort(query, kind="stable")
    query, item = query[order], item[order]
    counts = np.bincount(query, minlength=len(queries))
    place = np.arange(len(query)) - (np.cumsum(counts) - counts)[query]
    hits = Hits.empty(len(queries), max(int(counts.max(initial=0)), 1), ids=ids)
    hits.rows[query, place] = item
    hits.scores[query, place] = -place.astype(np.float32)
    return hits


def write_msmarco_run(path: Path, hits: Hits, queries: Queries) -> None:
    """A run as the MS MARCO leaderboard takes it: qid, pid and rank (from 1), separated by tabs."""
    assert hits.ids is not None
    rows, ranks = np.nonzero(hits.rows >= 0)
    items = hits.ids.decode(hits.rows[rows, ranks])
    names = queries.ids.decode(rows)
    lines = [f"{q}\t{i}\t{r + 1}\n" for q, i, r in zip(names, items, ranks.tolist(), strict=True)]
    path.write_text("".join(lines), encoding="utf-8")
