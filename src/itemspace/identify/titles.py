"""`TitleCodes`: the words of a title as an item's ID, with a number behind them, so that no two items share one."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from itemspace.core.codes import Codes
from itemspace.core.config import Config
from itemspace.core.contracts import ItemTokenizer
from itemspace.core.errors import ContractError
from itemspace.core.files import read_json, write_json_atomic
from itemspace.core.hashing import fingerprint, hash_strings
from itemspace.core.ragged import Ragged
from itemspace.core.seeding import RNG
from itemspace.core.vectors import Texts, Vectors
from itemspace.identify.code_rows import PAD, from_padded, padded
from itemspace.identify.collisions import resolved


class TitleCodesConfig(Config):
    words: int = Field(6, ge=1, le=64, description="words of a title that are read")
    vocabulary: int = Field(30_000, ge=1, description="the most frequent words that have a symbol of their own")
    buckets: int = Field(1024, ge=1, description="symbols shared by all other words, by hash")


class TitleCodes(ItemTokenizer):
    """Lexical IDs: one symbol per word, in the order of the title, then the number of the item among equal titles.

    The number always comes, so no code is the beginning of another. Every level has the same symbols: words, buckets for
    words that are not in the vocabulary (so new items have codes too), numbers.
    Source: title indexing, Hua et al. 2023, section 3; keyword IDs, Bevilacqua et al. 2022.
    """

    config: TitleCodesConfig
    _vocabulary: list[str] | None = None

    def fit(self, representations: Vectors, *, rng: RNG = 0) -> Self:
        """Learn the vocabulary of the items' texts.

        Raises:
            ContractError: these are not texts.
        """
        words, _ = self._words(representations)
        counted = pc.value_counts(words)
        names, counts = counted.field("values").to_pylist(), np.asarray(counted.field("counts"))
        order = np.lexsort((np.array(names, dtype=str) if names else np.zeros(0), -counts))
        self._vocabulary = [names[i] for i in order[: self.config.vocabulary].tolist()]
        return self

    def assign(self, representations: Vectors, *, taken: Codes | None = None) -> Codes:
        """A code for every item. taken: codes of other items, which no one gets."""
        vocabulary = self._fitted()
        words, owner = self._words(representations)
        n = len(representations)
        found = pc.index_in(words, value_set=pa.array(vocabulary, pa.large_string()))
        symbol = np.asarray(found.fill_null(-1)).astype(np.int64)
        unknown = symbol < 0
        if unknown.any():
            hashed = hash_strings(words.filter(pa.array(unknown))) % np.uint64(self.config.buckets)
            symbol[unknown] = len(vocabulary) + hashed.astype(np.int64)
        ragged = Ragged.from_groups(owner, symbol, n)
        place = np.arange(len(ragged.values)) - np.repeat(ragged.offsets[:-1], ragged.lengths)
        matrix = np.full((n, self.config.words), PAD, np.int64)
        near = place < self.config.words
        matrix[ragged.groups[near], place[near]] = ragged.values[near]
        return self._with_numbers(matrix, taken)

    def _with_numbers(self, matrix: np.ndarray, taken: Codes | None) -> Codes:
        """Rows of words with the number that tells equal ones apart, as symbols after all words."""
        first, item = self.numbers_from, np.arange(len(matrix), dtype=np.int32)
        matrix[:, 0] = np.where(matrix[:, 0] == PAD, first - 1, matrix[:, 0])
        held = None
        if taken is not None and len(taken):
            before = padded(taken)
            before = np.where(before >= first, before - first, before)
            held = from_padded(before, taken.item, [max(first, int(before.max()) + 1)] * before.shape[1])
        plain = from_padded(matrix, item, [first] * matrix.shape[1])
        out = padded(resolved(plain, "extra_token", taken=held))
        out[np.arange(len(matrix)), (matrix != PAD).sum(1)] += first
        most = max(int(out.max(initial=first)) - first + 1, 1)
        room = first + (1 << int(np.ceil(np.log2(2 * most))))
        return from_padded(out, item, [room] * out.shape[1], self.version)

    @property
    def numbers_from(self) -> int:
        """The first symbol that is a number; the one before it stands for a title without a word."""
        return len(self._fitted()) + self.config.buckets + 1

    @property
    def version(self) -> str:
        return fingerprint(self.path(), self.config.model_dump(), self._fitted())

    def save(self, folder: Path) -> None:
        told = {"config": self.config.model_dump(mode="json"), "vocabulary": self._fitted()}
        write_json_atomic(folder / "tokenizer.json", told)

    @classmethod
    def open(cls, folder: Path) -> Self:
        told = read_json(folder / "tokenizer.json")
        tokenizer = cls(cls.config_class().parse(told["config"]))
        tokenizer._vocabulary = told["vocabulary"]
        return tokenizer

    def _fitted(self) -> list[str]:
        if self._vocabulary is None:
            raise ContractError("this TitleCodes has no vocabulary yet: call fit(texts) first.")
        return self._vocabulary

    def _words(self, texts: Vectors) -> tuple[pa.Array, np.ndarray]:
        """Every word of every item, large_string [m], and the item it is of, int64 [m]."""
        if not isinstance(texts, Texts):
            raise ContractError(f"TitleCodes reads Texts, not {type(texts).__name__}.")
        columns = [pa.array([text or "" for text in column], pa.large_string()) for column in texts.fields.values()]
        whole = (
            columns[0]
            if len(columns) == 1
            else pc.binary_join_element_wise(*columns, pa.scalar(" ", pa.large_string()))
        )
        lists = pc.split_pattern_regex(pc.utf8_lower(whole), r"[^\p{L}\p{N}]+")
        words, owner = lists.flatten(), np.asarray(pc.list_parent_indices(lists)).astype(np.int64)
        some = pc.not_equal(words, "")
        return words.filter(some), owner[np.asarray(some)]
