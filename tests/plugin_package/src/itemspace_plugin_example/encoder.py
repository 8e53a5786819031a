"""An encoder in one file: how often each letter occurs."""

from pathlib import Path
from typing import Self

import numpy as np

from itemspace.core.catalog import Catalog
from itemspace.core.config import Config
from itemspace.core.contracts import Encoder, Role
from itemspace.core.requests import Requests
from itemspace.core.vectors import Dense, VectorSpace, normalize


class LetterConfig(Config):
    power: float = 0.5


class LetterEncoder(Encoder):
    """Letter frequencies to a power, a to z and everything else, as unit vectors [n, 27]."""

    config: LetterConfig

    @property
    def space(self) -> VectorSpace:
        return VectorSpace(f"letters-{self.config.power}", 27, "cosine", normalized=True)

    def encode(self, inputs: Catalog | Requests, *, role: Role) -> Dense:
        texts = inputs.texts() if isinstance(inputs, Catalog) else inputs.text or ()
        counts = np.zeros((len(inputs), 27), np.float32)
        for row, text in enumerate(texts):
            letters = np.frombuffer(text.lower().encode("utf-8", "replace"), np.uint8).astype(np.int64) - ord("a")
            np.add.at(counts[row], np.where((letters >= 0) & (letters < 26), letters, 26), 1)
        return Dense(normalize(counts**self.config.power), self.space)

    def save(self, folder: Path) -> None:
        (folder / "letters.json").write_text(self.config.model_dump_json())

    @classmethod
    def open(cls, folder: Path) -> Self:
        return cls(LetterConfig.model_validate_json((folder / "letters.json").read_text()))
