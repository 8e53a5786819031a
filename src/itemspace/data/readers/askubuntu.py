"""AskUbuntu similar questions: `text_tokenized.txt` with `train_random.txt`, `dev.txt` or `test.txt`.

`text_tokenized.txt[.gz]`: question ID, title, body, separated by tabs. `train_random.txt`: question ID, IDs of similar
questions, IDs drawn at random, the lists separated by spaces. `dev.txt`, `test.txt`: question ID, similar IDs, twenty
candidates that a search engine found, their scores; candidates that are not similar were judged so by people.

Every question is an item; what is relevant follows from the similar pairs of one file (`split`) by transitive closure
(`itemspace.data.paraphrases`). The random negatives of the training file are not judgments, and are passed over.

Source: Lei et al. 2016 (taolei87/askubuntu).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.core.ids import Ids
from itemspace.data.columns import mask
from itemspace.data.files import load_lines
from itemspace.data.frame import Frame
from itemspace.data.reader import Reader, Reading, one
from itemspace.data.readers.pairs import paired

FILES = {"train": "train_random.txt", "dev": "dev.txt", "test": "test.txt"}


class AskUbuntuConfig(Config):
    """split: which file's pairs to read."""

    split: Literal["train", "dev", "test"] = "train"


class AskUbuntuReader(Reader):
    """The questions, and one file of pairs."""

    config: AskUbuntuConfig
    name = "askubuntu"
    looks_for = "text_tokenized.txt with train_random.txt, dev.txt or test.txt (AskUbuntu)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        return (
            path.is_dir() and any(path.glob("text_tokenized.txt*")) and any((path / f).exists() for f in FILES.values())
        )

    def read(self, path: Path, reading: Reading) -> Dataset:
        texts = one(path, "text_tokenized.txt", "text_tokenized.txt.gz")
        pairs = path / FILES[self.config.split]
        if texts is None or not pairs.exists():
            raise DataError(f"{pairs.name if texts else 'text_tokenized.txt'} is missing.", file=str(path))
        reading.files += [texts.name, pairs.name]
        questions = load_lines(texts, reading.rejects, separator="\t", names=["id", "title", "body"])
        catalog = reading.catalog(questions, kinds={"id": "id", "title": "text", "body": "text"})
        train = self.config.split == "train"
        names = ["id", "similar", "random"] if train else ["id", "similar", "candidates", "scores"]
        frame = load_lines(pairs, reading.rejects, separator="\t", names=names)
        frame = _known(frame, catalog.ids, reading)
        similar = _listed(frame, "similar", catalog.ids, reading)
        differ = similar[:, :0] if train else _listed(frame, "candidates", catalog.ids, reading)
        # A candidate that is similar stands in both lists.
        width = len(catalog)
        differ = differ[
            :,
            ~np.isin(differ[0].astype(np.int64) * width + differ[1], similar[0].astype(np.int64) * width + similar[1]),
        ]
        left, right = np.concatenate([similar, differ], axis=1)
        same = np.arange(len(left)) < similar.shape[1]
        return paired(self.name, path, reading, catalog, "title", left, right, same, split=self.config.split)


def _known(frame: Frame, ids: Ids, reading: Reading) -> Frame:
    strange = ids.find(frame.column("id")) < 0
    shown = frame.column("id").filter(pa.array(strange)).to_pylist()
    reading.rejects.add(frame.file, frame.rows[strange], "id", shown, 'question "{value}" has no text')
    return frame.filter(~strange)


def _listed(frame: Frame, column: str, ids: Ids, reading: Reading) -> np.ndarray:
    """Pairs int64 [2, m] of every line's question and the questions listed in `column`; unknown ones are rejected."""
    lists = pc.split_pattern(frame.column(column), " ")
    owner = np.asarray(pc.list_parent_indices(lists))
    named = pc.list_flatten(lists)
    given = mask(pc.not_equal(named, ""))
    owner, named = owner[given], named.filter(pa.array(given))
    rows = ids.find(named)
    strange = rows < 0
    shown = named.filter(pa.array(strange)).to_pylist()
    reading.rejects.add(frame.file, frame.rows[owner[strange]], column, shown, 'question "{value}" has no text')
    own = ids.find(frame.column("id")).astype(np.int64)
    return np.stack([own[owner[~strange]], rows[~strange].astype(np.int64)])
