"""`CategoryCodes`: the path through a shop's own categories as an item's ID, with a number behind it."""

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
from itemspace.core.hashing import fingerprint
from itemspace.core.seeding import RNG
from itemspace.core.vectors import Texts, Vectors
from itemspace.identify.collisions import resolved


class CategoryCodesConfig(Config):
    most: int = Field(1_000, ge=1, description="categories of a level that have a symbol of their own, the commonest")


class CategoryCodes(ItemTokenizer):
    """Semantic IDs that people made: one level per column of categories, in the order of `Texts.fields`, then a number.

    The last symbol of a level stands for categories that are rare, missing, or came later.
    Source: semantic (content-based) indexing, Hua et al. 2023, section 4.3.
    """

    config: CategoryCodesConfig
    _names: dict[str, list[str]] | None = None

    def fit(self, representations: Vectors, *, rng: RNG = 0) -> Self:
        """Learn the categories of every column.

        Raises:
            ContractError: these are not texts.
        """
        self._names = {name: self._common(column) for name, column in _columns(representations).items()}
        return self

    def assign(self, representations: Vectors, *, taken: Codes | None = None) -> Codes:
        """A code for every item. taken: codes of other items, which no one gets.

        Raises:
            ContractError: the columns are not those that were fitted.
        """
        names, columns = self._fitted(), _columns(representations)
        if list(columns) != list(names):
            raise ContractError(f"fitted to the columns {', '.join(names)}; these are {', '.join(columns)}.")
        levels = []
        for name, column in columns.items():
            found = pc.index_in(column, value_set=pa.array(names[name], pa.large_string()))
            levels.append(np.asarray(found.fill_null(len(names[name]))).astype(np.int32))
        sizes = tuple(len(known) + 1 for known in names.values())
        codes = Codes.from_matrix(np.stack(levels, axis=1), sizes, version=self.version)
        return resolved(codes, "extra_token", taken=taken)

    def _common(self, column: pa.Array) -> list[str]:
        counted = pc.value_counts(column.filter(pc.not_equal(column, "")))
        names, counts = counted.field("values").to_pylist(), np.asarray(counted.field("counts"))
        order = np.lexsort((np.array(names, dtype=str), -counts)) if names else np.zeros(0, np.int64)
        return [names[i] for i in order[: self.config.most].tolist()]

    @property
    def version(self) -> str:
        return fingerprint(self.path(), self.config.model_dump(), list(self._fitted().items()))

    def save(self, folder: Path) -> None:
        told = {"config": self.config.model_dump(mode="json"), "names": list(self._fitted().items())}
        write_json_atomic(folder / "tokenizer.json", told)

    @classmethod
    def open(cls, folder: Path) -> Self:
        told = read_json(folder / "tokenizer.json")
        tokenizer = cls(cls.config_class().parse(told["config"]))
        tokenizer._names = {name: list(known) for name, known in told["names"]}
        return tokenizer

    def _fitted(self) -> dict[str, list[str]]:
        if self._names is None:
            raise ContractError("this CategoryCodes has no categories yet: call fit(texts) first.")
        return self._names


def _columns(texts: Vectors) -> dict[str, pa.Array]:
    if not isinstance(texts, Texts) or not texts.fields:
        raise ContractError(f"CategoryCodes reads Texts, one field per level, not {type(texts).__name__}.")
    return {name: pa.array([v or "" for v in column], pa.large_string()) for name, column in texts.fields.items()}
