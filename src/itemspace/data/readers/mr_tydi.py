"""Mr. TyDi: passages of eleven Wikipedias with questions and the passages that answer them.

A folder `mrtydi-v1.1-LANGUAGE` holds `collection/docs.jsonl.gz` (id, contents: the title, an empty line, the text),
`topic.SPLIT.tsv` (number and question) and `qrels.SPLIT.txt` (TREC) for the splits train, dev and test.

Source: castorini/mr.tydi; Zhang et al. 2021.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.data.files import load_lines
from itemspace.data.frame import Frame
from itemspace.data.jsons import load_jsonl
from itemspace.data.reader import Reader, Reading, queries_of

Split = Literal["train", "dev", "test"]
SPLITS = ("train", "dev", "test")
LANGUAGES = {
    "arabic": "ar", "bengali": "bn", "english": "en", "finnish": "fi", "indonesian": "id", "japanese": "ja",
    "korean": "ko", "russian": "ru", "swahili": "sw", "telugu": "te", "thai": "th",
}  # fmt: skip
_FOLDER = re.compile(r"^mrtydi-v[\d.]+-([a-z]+)$")
_QRELS = ["query", "iteration", "item", "grade"]


class MrTydiConfig(Config):
    """split: whose questions are read. language: two letters, where the folder's name does not say."""

    split: Split = "test"
    language: str | None = None


class MrTydiReader(Reader):
    """The folder of one language."""

    config: MrTydiConfig
    name = "mr-tydi"
    looks_for = "collection/docs.jsonl.gz with topic.*.tsv and qrels.*.txt (Mr. TyDi)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        return path.is_dir() and _collection(path) is not None and any(path.glob("topic.*.tsv"))

    def read(self, path: Path, reading: Reading) -> Dataset:
        collection = _collection(path)
        if collection is None:
            raise DataError("collection/docs.jsonl.gz is missing.", file=str(path))
        topics, qrels = path / f"topic.{self.config.split}.tsv", path / f"qrels.{self.config.split}.txt"
        reading.files += [collection.name, topics.name, qrels.name]
        frame = load_jsonl(collection, reading.rejects)
        for name in ("id", "contents"):
            if name not in frame:
                raise DataError(f"no column `{name}`; columns: {', '.join(frame.names)}.", file=collection.name)
        catalog = reading.catalog(_titled(frame), kinds={"id": "id", "title": "text", "text": "text"})
        asked = load_lines(topics, reading.rejects, separator="\t", names=["number", "question"])
        asked = reading.unique(reading.with_ids(asked, "number"), "number", "refuse")
        queries = queries_of(asked.column("number").to_pylist(), asked.column("question").to_pylist())
        pairs = load_lines(qrels, reading.rejects, separator=None, names=_QRELS)
        catalog, judgments = reading.judgments(pairs, catalog, queries, query="query", item="item", grade="grade")
        source = {"split": self.config.split, "language": self.config.language or language_of(path)}
        return reading.dataset(path, self.name, catalog, queries=queries, judgments=judgments, source=source)


def language_of(path: Path) -> str | None:
    """Two letters, from a folder's published name; None where it says nothing."""
    found = _FOLDER.match(path.name)
    return LANGUAGES.get(found[1]) if found else None


def folder_of(root: Path, language: str) -> Path:
    """The folder of a language: `root` itself, or the one of the published name in it.

    Raises:
        DataError: no such language, or no such folder.
    """
    names = {short: name for name, short in LANGUAGES.items()}
    name = names.get(language, language)
    if name not in LANGUAGES:
        raise DataError(f'"{language}" is not a language of Mr. TyDi; they are {", ".join(names)}.')
    if MrTydiReader.matches(root) and language_of(root) in (None, LANGUAGES[name]):
        return root
    found = sorted(root.glob(f"mrtydi-v*-{name}")) if root.is_dir() else []
    if not found:
        raise DataError(f"there is no folder mrtydi-v1.1-{name}.", file=str(root))
    return found[-1]


def _collection(path: Path) -> Path | None:
    return next(
        (p for p in (path / "collection" / "docs.jsonl.gz", path / "collection" / "docs.jsonl") if p.exists()), None
    )


def _titled(frame: Frame) -> Frame:
    """`contents` as title and text."""
    parts = pc.split_pattern(pc.fill_null(frame.column("contents").cast(pa.large_string()), ""), "\n\n", max_splits=1)
    two = np.asarray(pc.list_value_length(parts)) > 1
    empty = pa.scalar("", pa.large_string())
    title = pc.if_else(pa.array(two), pc.list_element(parts, 0), empty)
    table = pa.table({"id": frame.column("id"), "title": title, "text": _last(parts)})
    return Frame(table, frame.file, frame.rows)


def _last(parts: pa.Array) -> pa.Array:
    """The last element of every list (none is empty)."""
    ends = np.asarray(parts.offsets)[1:] - 1
    return parts.values.take(pa.array(ends))


def write_mr_tydi(
    folder: Path,
    passages: Mapping[str, tuple[str, str]],
    splits: Mapping[str, Sequence[tuple[str, str, Sequence[str]]]],
) -> None:
    """A folder in the published format. passages: ID -> title and text. splits: (number, question, IDs that answer)."""
    (folder / "collection").mkdir(parents=True, exist_ok=True)
    lines = (
        json.dumps({"id": one, "contents": f"{title}\n\n{text}"}, ensure_ascii=False) + "\n"
        for one, (title, text) in passages.items()
    )
    (folder / "collection" / "docs.jsonl.gz").write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    for split, asked in splits.items():
        topics = "".join(f"{number}\t{question}\n" for number, question, _ in asked)
        qrels = "".join(f"{number} Q0 {one} 1\n" for number, _, answers in asked for one in answers)
        (folder / f"topic.{split}.tsv").write_text(topics, encoding="utf-8")
        (folder / f"qrels.{split}.txt").write_text(qrels, encoding="utf-8")
