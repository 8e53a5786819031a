"""`TokenEncoder`: one vector per word of a text, for late interaction."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field

from itemspace.core.catalog import Catalog
from itemspace.core.config import Config
from itemspace.core.contracts import Encoder, Role
from itemspace.core.hashing import fingerprint
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG
from itemspace.core.vectors import Multi, VectorSpace
from itemspace.encode.fields import item_texts, request_texts
from itemspace.encode.lsa import LSAEncoder
from itemspace.encode.ngrams import Tokens, tokenize


class TokenConfig(Config):
    dimension: int = Field(64, ge=2, description="length of a word's vector")
    columns: tuple[str, ...] = Field((), description="catalogue columns to read; default: every column of words")
    max_words: int = Field(64, ge=1, description="distinct words kept of a text, the first ones")


class TokenEncoder(Encoder):
    """Every distinct word of a text as the LSA vector of that word: `Multi`, unit length, in order of first occurrence.

    Words without a known n-gram have no vector, so a text may have none. Match with `MaxSimIndex`.
    Source: late interaction, Khattab and Zaharia 2020, over the weight-free word vectors of `LSAEncoder`.
    """

    config: TokenConfig
    consumes = ("text",)
    _words: LSAEncoder | None = None

    @property
    def words(self) -> LSAEncoder:
        """The encoder of single words."""
        if self._words is None:
            self._words = LSAEncoder(dimension=self.config.dimension, columns=self.config.columns)
        return self._words

    @property
    def space(self) -> VectorSpace:
        inner = self.words.space
        return VectorSpace(
            f"tokens-{fingerprint(inner.encoder, self.config.max_words)}", inner.dimension, "cosine", True
        )

    def fit(self, catalog: Catalog, *, rng: RNG = 0) -> Self:
        self.words.fit(catalog, rng=rng)
        return self

    def encode(self, inputs: Catalog | Requests, *, role: Role) -> Multi:
        """`Multi` float32: item i's words are `vectors[i]` [words, d]."""
        if isinstance(inputs, Requests):
            texts = list(request_texts(inputs, by=type(self).__name__))
        else:
            texts = item_texts(inputs, self.config.columns)
        tokens = tokenize(texts)
        _, first, word = np.unique(tokens.hashes, return_index=True, return_inverse=True)
        vectors = self.words.encode(Requests.texts(_spell(tokens, first)), role=role).values if len(first) else None
        space = self.space
        if vectors is None:
            return Multi(np.zeros((0, space.dimension), np.float32), np.zeros(len(texts) + 1, np.int64), space)
        # One vector per distinct word of a text, where the word has one.
        pairs = tokens.text.astype(np.int64) * len(first) + word.reshape(-1)
        keep = np.sort(np.unique(pairs, return_index=True)[1])
        keep = keep[(vectors[word.reshape(-1)[keep]] != 0).any(1)]
        kept = Ragged.from_groups(tokens.text[keep], word.reshape(-1)[keep], len(texts))
        place = np.arange(len(kept.values)) - kept.offsets[:-1][kept.groups]
        kept = kept.filter(place < self.config.max_words)
        return Multi(vectors[kept.values], kept.offsets, space)

    def save(self, folder: Path) -> None:
        (folder / "encoder.json").write_text(self.config.model_dump_json(indent=1))
        (folder / "words").mkdir()
        self.words.save(folder / "words")

    @classmethod
    def open(cls, folder: Path) -> Self:
        encoder = cls(cls.config_class().model_validate_json((folder / "encoder.json").read_text()))
        encoder._words = LSAEncoder.open(folder / "words")
        return encoder


def _spell(tokens: Tokens, which: np.ndarray) -> list[str]:
    """Some tokens as strings."""
    bounds = zip(tokens.offsets[which].tolist(), tokens.offsets[which + 1].tolist(), strict=True)
    text = tokens.points.astype("<u4").tobytes().decode("utf-32-le", "replace")
    return [text[a:b] for a, b in bounds]
