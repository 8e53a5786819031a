"""The STS benchmark as retrieval: `stsb-en-train.csv`, `-dev.csv`, `-test.csv` with lines `sentence, sentence, score`.

Scores run from 0 (unrelated) to 5 (the same meaning). Pairs scored at least `least` count as paraphrases, and those at most
`most_apart` as judged different; what lies between says neither. Distinct sentences are the items; the others of a class
under the transitive closure of the paraphrases are relevant (`itemspace.data.paraphrases`).

Source: Cer et al. 2017 (SemEval task 1), as mirrored in comma-separated files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.data.files import load_csv
from itemspace.data.frame import Frame
from itemspace.data.reader import Reader, Reading
from itemspace.data.readers.pairs import first_of, joined, paired

_NAMES = ("sentence1", "sentence2", "score")


class StsbConfig(Config):
    """least: the lowest score of a paraphrase. most_apart: the highest score of a pair that is judged different."""

    least: float = 4.0
    most_apart: float = 2.0


class StsbReader(Reader):
    """All parts together: the classes are split anew, since the published parts share sentences."""

    config: StsbConfig
    name = "stsb"
    looks_for = "stsb-*-train.csv, stsb-*-dev.csv or stsb-*-test.csv (STS benchmark)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        return path.is_dir() and bool(_parts(path))

    def read(self, path: Path, reading: Reading) -> Dataset:
        parts = _parts(path)
        if not parts:
            raise DataError("no stsb-*.csv is here.", file=str(path))
        reading.files += [part.name for part in parts]
        frames = [reading.numbers(load_csv(part, reading.rejects, names=_NAMES), "score") for part in parts]
        frame = Frame(
            pa.concat_tables([one.table for one in frames]), parts[0].name, np.concatenate([one.rows for one in frames])
        )
        one = first_of(frame, "sentence1", "sentence1", as_id="key", as_text="sentence")
        other = first_of(frame, "sentence2", "sentence2", as_id="key", as_text="sentence")
        every = first_of(joined(one, other), "key", "sentence", as_id="key", as_text="sentence")
        width = len(str(len(every)))
        names = pa.array([f"s{number:0{width}d}" for number in range(1, len(every) + 1)], pa.large_string())
        table = pa.table({"id": names, "sentence": every.column("sentence")})
        catalog = reading.catalog(Frame(table, every.file, every.rows), kinds={"id": "id", "sentence": "text"})
        place = catalog.ids.find(names)
        left, right = (
            place[np.asarray(pa.compute.index_in(frame.column(side), every.column("sentence")))] for side in _NAMES[:2]
        )
        score = np.asarray(frame.column("score"))
        told = (score >= self.config.least) | (score <= self.config.most_apart)
        same = score[told] >= self.config.least
        return paired(
            self.name, path, reading, catalog, "sentence", left[told], right[told], same, **self.config.model_dump()
        )


def _parts(path: Path) -> list[Path]:
    found = [file for part in ("train", "dev", "test") for file in sorted(path.glob(f"stsb-*-{part}.csv"))]
    return found
