"""BEIR folders: `corpus.jsonl` (_id, title, text), `queries.jsonl` (_id, text), `qrels/SPLIT.tsv` or `qrels.jsonl`.

`qrels/*.tsv` have the header `query-id corpus-id score`; one split is read (`split`, default test, then the only one).
`qrels.jsonl` lines carry the same three keys (LIMIT). Queries of other splits stay unjudged. A folder without a corpus
(the full LIMIT, whose corpus is generated) is read only with `unknown="add"`: judged documents become items with an ID.

Source: beir-cellar/beir; google-deepmind/limit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.core.ids import Ids
from itemspace.data.columns import mask
from itemspace.data.files import load_csv
from itemspace.data.frame import Frame
from itemspace.data.jsons import load_jsonl
from itemspace.data.reader import Reader, Reading, bare_catalog, queries_of


class BeirConfig(Config):
    """split: which `qrels/SPLIT.tsv` to read; None takes test, or the only one there is."""

    split: str | None = None


class BeirReader(Reader):
    """Corpus, queries and one split of qrels."""

    config: BeirConfig
    name = "beir"
    looks_for = "queries.jsonl with qrels/*.tsv or qrels.jsonl, and corpus.jsonl (BEIR)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        return path.is_dir() and (path / "queries.jsonl").exists() and bool(_qrels(path))

    def read(self, path: Path, reading: Reading) -> Dataset:
        pairs = self._pairs(path, reading)
        corpus = path / "corpus.jsonl"
        if corpus.exists():
            reading.files.append(corpus.name)
            frame = load_jsonl(corpus, reading.rejects)
            kinds = {"_id": "id", "title": "text", "text": "text"}
            catalog = reading.catalog(_without_empty(frame), kinds=kinds)
        elif reading.unknown == "add":
            catalog = bare_catalog(
                reading.with_ids(pairs, "corpus-id").column("corpus-id"), seed=reading.seed, name="_id"
            )
            reading.notes.append("corpus.jsonl is absent; judged documents became items with an ID only")
        else:
            raise DataError(
                "corpus.jsonl is missing.",
                file=str(path),
                hint='Pass unknown="add" (--unknown add) to read the judged documents as items with an ID only.',
            )
        reading.files.append("queries.jsonl")
        asked = reading.with_ids(load_jsonl(path / "queries.jsonl", reading.rejects), "_id")
        asked = reading.unique(asked, "_id", "refuse")
        queries = queries_of(asked.column("_id").to_pylist(), [t or "" for t in asked.column("text").to_pylist()])
        catalog, judgments = reading.judgments(
            pairs, catalog, queries, query="query-id", item="corpus-id", grade="score"
        )
        return reading.dataset(path, self.name, catalog, queries=queries, judgments=judgments)

    def _pairs(self, path: Path, reading: Reading) -> Frame:
        found = _qrels(path)
        wanted = self.config.split or ("test" if "test" in found else next(iter(found)))
        if wanted not in found:
            raise DataError(f"there is no split `{wanted}`; there are {', '.join(found)}.", file=str(path))
        if self.config.split is None and len(found) > 1 and "test" not in found:
            raise DataError(f"several splits: {', '.join(found)}.", file=str(path), hint='Pass split="...".')
        file = found[wanted]
        reading.files.append(file.name)
        frame = (
            load_jsonl(file, reading.rejects)
            if file.suffix == ".jsonl"
            else load_csv(file, reading.rejects, delimiter="\t", quoting=False)
        )
        for name in ("query-id", "corpus-id", "score"):
            if name not in frame:
                raise DataError(f"no column `{name}`; columns: {', '.join(frame.names)}.", file=file.name)
        return frame


def _qrels(path: Path) -> dict[str, Path]:
    found = {file.stem: file for file in sorted((path / "qrels").glob("*.tsv"))}
    if (path / "qrels.jsonl").exists():
        found.setdefault("qrels", path / "qrels.jsonl")
    return found


def _without_empty(frame: Frame) -> Frame:
    """Drop `metadata` (an object BEIR leaves empty) and titles that are empty throughout."""
    empty = [
        name
        for name in frame.names
        if pa.types.is_large_string(frame.column(name).type) or pa.types.is_string(frame.column(name).type)
        if name != "_id" and not any(v and v != "{}" for v in frame.column(name).unique().to_pylist())
    ]
    return frame.select([name for name in frame.names if name not in empty])


def write_beir(dataset: Dataset, folder: Path, *, columns: Sequence[str] = (), split: str = "test") -> None:
    """The items' words, the queries and the judgments of `dataset` as a BEIR folder.

    columns: the first becomes `title`, the others, joined, `text` (default: the columns of words). White space in an ID,
    which run files cannot carry, makes all IDs of that kind be numbered: q0, q1, ... or d0, d1, ... by row.

    Raises:
        DataError: the dataset has no judged queries.
    """
    if dataset.queries is None or dataset.judgments is None:
        raise DataError(f"{dataset.name} has no judged queries to write", hint="BEIR is queries with judgments.")
    names = list(columns or dataset.catalog.schema.columns("text") or dataset.catalog.text_columns())
    items, queries = plain_ids(dataset.catalog.ids, "d"), plain_ids(dataset.queries.ids, "q")
    titles = dataset.catalog.texts(names[:1]) if len(names) > 1 else [""] * len(items)
    texts = dataset.catalog.texts(names[1:] or names)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "qrels").mkdir(exist_ok=True)
    corpus = ({"_id": i, "title": t, "text": x, "metadata": {}} for i, t, x in zip(items, titles, texts, strict=True))
    asked = ({"_id": i, "text": t, "metadata": {}} for i, t in zip(queries, dataset.queries.texts, strict=True))
    for name, records in (("corpus.jsonl", corpus), ("queries.jsonl", asked)):
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (folder / name).write_text("".join(lines), encoding="utf-8")
    judged = dataset.judgments
    pairs = zip(judged.items.groups.tolist(), judged.items.values.tolist(), judged.grades.tolist(), strict=True)
    body = "".join(f"{queries[q]}\t{items[i]}\t{grade:g}\n" for q, i, grade in pairs)
    (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + body, encoding="utf-8")


def plain_ids(ids: Ids, prefix: str) -> list[str]:
    """IDs as `write_beir` writes them."""
    spaced = mask(pc.match_substring_regex(ids.values, r"\s")).any()
    return [f"{prefix}{row}" for row in range(len(ids))] if spaced else ids.values.to_pylist()
