"""Quora question pairs: a table with the columns `id, qid1, qid2, question1, question2, is_duplicate`.

Published as `quora_duplicate_questions.tsv` (tabs, quoted), and on Kaggle as `train.csv` (commas). Questions are the
items; a question that has a duplicate is also a query, and all members of its class under the transitive closure of the
duplicate pairs are relevant (`itemspace.data.paraphrases`). Pairs marked as no duplicates are judged 0.

Source: Quora, "First Quora Dataset Release: Question Pairs" (2017).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.data.columns import mask
from itemspace.data.files import load_csv
from itemspace.data.reader import Reader, Reading, head
from itemspace.data.readers.pairs import first_of, joined, paired

COLUMNS = ("qid1", "qid2", "question1", "question2", "is_duplicate")


class QuoraPairsReader(Reader):
    """The pairs file, or the folder it lies in."""

    config: Config
    name = "quora-pairs"
    looks_for = "a table with qid1, qid2, question1, question2 and is_duplicate (Quora question pairs)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        return _file(path) is not None

    def read(self, path: Path, reading: Reading) -> Dataset:
        file = _file(path)
        if file is None:
            raise DataError(f"no file with the columns {', '.join(COLUMNS)} is here.", file=str(path))
        reading.files.append(file.name)
        frame = load_csv(file, reading.rejects, delimiter=_delimiter(file))
        for column in ("qid1", "qid2"):
            frame = reading.with_ids(frame, column)
        said = frame.column("is_duplicate")
        known = mask(pc.is_in(said, pa.array(["0", "1"], said.type)))
        reading.rejects.add(
            file.name, frame.rows[~known], "is_duplicate", said.filter(pa.array(~known)).to_pylist(),
            '"{value}" is neither 0 nor 1',
        )  # fmt: skip
        frame = frame.filter(known)
        one = first_of(frame, "qid1", "question1", as_id="qid", as_text="question")
        other = first_of(frame, "qid2", "question2", as_id="qid", as_text="question")
        every = first_of(joined(one, other), "qid", "question", as_id="qid", as_text="question")
        catalog = reading.catalog(every, kinds={"qid": "id", "question": "text"})
        left, right = (catalog.ids.find(frame.column(name)) for name in ("qid1", "qid2"))
        same = mask(pc.equal(frame.column("is_duplicate"), "1"))
        return paired(self.name, path, reading, catalog, "question", left, right, np.asarray(same))


def _file(path: Path) -> Path | None:
    files = [path] if path.is_file() else sorted([*path.glob("*.tsv"), *path.glob("*.csv"), *path.glob("*.gz")])
    return next((file for file in files if _is_pairs(file)), None)


def _is_pairs(file: Path) -> bool:
    first = head(file).split(b"\n", 1)[0].decode("utf-8", "replace")
    names = {name.strip().strip('"') for name in first.lstrip("\ufeff").replace("\t", ",").split(",")}
    return set(COLUMNS) <= names


def _delimiter(file: Path) -> str:
    return "\t" if b"\t" in head(file).split(b"\n", 1)[0] else ","
