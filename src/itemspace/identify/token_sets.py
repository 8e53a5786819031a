"""`TokenSets`: an item as a set of continuous tokens, one of behavior and several of meaning, in no order (SETRec)."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field

from itemspace.core.config import Component, Config
from itemspace.core.contracts import Persistent
from itemspace.core.errors import ContractError
from itemspace.core.files import load_arrays, read_json, save_arrays, write_json_atomic
from itemspace.core.hashing import fingerprint
from itemspace.core.seeding import RNG
from itemspace.core.vectors import Dense, Multi, Vectors, VectorSpace
from itemspace.identify.product import dealt_axes, principal_axes
from itemspace.identify.quantizer import SAMPLE


class TokenSetsConfig(Config):
    semantic_tokens: int = Field(4, ge=1, le=64)
    token_size: int = Field(64, ge=1)


class TokenSets(Component, Persistent):
    """Continuous identifiers: `1 + semantic_tokens` vectors of `token_size` numbers for every item.

    The first is behavior (vectors of training events, such as `cooccurrence.behavior_vectors(split)`), padded or cut to
    size; the others are parts of the content vector. There is no codebook, so no two items are confused and new items
    have tokens at once (their behavior token is zeros until they are met). A generator scores an item by the sum of the
    products of its tokens with as many queries, in one step.

    The semantic tokens are those of the linear auto-encoder that reconstructs best: principal axes, dealt out so that
    every token says as much. Source: Lin et al. 2025 (SETRec), section 3.2, with a closed form for its auto-encoder.
    """

    config: TokenSetsConfig
    _arrays: dict[str, np.ndarray] | None = None
    _space: VectorSpace

    def fit(self, representations: Vectors, *, rng: RNG = 0) -> Self:
        """Learn the axes.

        Raises:
            ContractError: the vectors are not Dense, or have fewer dimensions than there are semantic tokens.
        """
        if not isinstance(representations, Dense) or len(representations) == 0:
            raise ContractError("TokenSets is fitted to at least one Dense vector.")
        count, size = self.config.semantic_tokens, self.config.token_size
        if representations.space.dimension < count:
            raise ContractError(f"{count} tokens need vectors of at least as many dimensions.")
        step = max(1, len(representations) // SAMPLE)
        sample = np.asarray(representations.values[::step], np.float32)
        mean = sample.mean(0)
        centered = sample - mean
        if count * size < centered.shape[1]:
            _, axes = principal_axes(centered)
            kept = axes[:, : count * size]
            axes = kept @ dealt_axes(centered @ kept, count)
        else:
            axes = dealt_axes(centered, count)
        self._arrays, self._space = {"mean": mean, "axes": np.ascontiguousarray(axes)}, representations.space
        return self

    def encode(self, representations: Vectors, behavior: Vectors | None = None) -> Multi:
        """The tokens of every item: `Multi` of `1 + semantic_tokens` vectors each.

        behavior: Dense [n, b]; None, or a row of zeros, is an item nobody met.
        """
        arrays = self._fitted()
        if not isinstance(representations, Dense):
            raise ContractError("TokenSets reads Dense vectors.")
        self._space.check(representations.space, what="item")
        count, size, n = self.config.semantic_tokens, self.config.token_size, len(representations)
        tokens = np.zeros((n, 1 + count, size), np.float32)
        turned = (np.asarray(representations.values, np.float32) - arrays["mean"]) @ arrays["axes"]
        parts = turned.reshape(n, count, -1)
        tokens[:, 1:, : parts.shape[2]] = parts
        if behavior is not None:
            if not isinstance(behavior, Dense) or len(behavior) != n:
                raise ContractError("behavior is one Dense vector for every item.")
            width = min(size, behavior.values.shape[1])
            tokens[:, 0, :width] = behavior.values[:, :width]
        space = VectorSpace(f"tokens-{self.version}", size, "dot")
        return Multi(tokens.reshape(-1, size), np.arange(n + 1, dtype=np.int64) * (1 + count), space)

    def decode(self, tokens: Multi) -> Dense:
        """The content vectors that the semantic tokens stand for."""
        arrays, count = self._fitted(), self.config.semantic_tokens
        width = arrays["axes"].shape[1] // count
        parts = tokens.values.reshape(len(tokens), 1 + count, -1)[:, 1:, :width].reshape(len(tokens), -1)
        return Dense((parts @ arrays["axes"].T + arrays["mean"]).astype(np.float32), self._space)

    @property
    def version(self) -> str:
        """A fingerprint of the fit."""
        arrays = self._fitted()
        return fingerprint(self.path(), self.config.model_dump(), arrays["mean"], arrays["axes"], self._space.to_json())

    def save(self, folder: Path) -> None:
        save_arrays(folder, **self._fitted())
        told = {"config": self.config.model_dump(mode="json"), "space": self._space.to_json()}
        write_json_atomic(folder / "tokens.json", told)

    @classmethod
    def open(cls, folder: Path) -> Self:
        told = read_json(folder / "tokens.json")
        made = cls(cls.config_class().parse(told["config"]))
        made._arrays, made._space = load_arrays(folder, mmap=False), VectorSpace(**told["space"])
        return made

    def _fitted(self) -> dict[str, np.ndarray]:
        if self._arrays is None:
            raise ContractError("this TokenSets has no axes yet: call fit(vectors) first.")
        return self._arrays
