"""What every item tokenizer must do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import pytest

from itemspace.core.codes import Codes
from itemspace.core.contracts import ItemTokenizer
from itemspace.core.errors import SpaceMismatchError
from itemspace.core.vectors import Dense, VectorSpace, normalize


def clustered_vectors(
    n: int = 300, *, dimension: int = 12, clusters: int = 6, seed: int = 0
) -> tuple[Dense, np.ndarray]:
    """Unit vectors around a few centers, of very different sizes, and the cluster of each [n]."""
    rng = np.random.default_rng(seed)
    share = 2.0 ** -np.arange(clusters)
    label = rng.choice(clusters, n, p=share / share.sum())
    values = rng.standard_normal((clusters, dimension))[label] + 0.15 * rng.standard_normal((n, dimension))
    return Dense(normalize(values), VectorSpace(f"clustered-{seed}", dimension, "cosine", True)), label


class ItemTokenizerContract(ABC):
    """Subclass it as `class TestMine(ItemTokenizerContract)` and say how to make one.

    codes_per_item: how many codes each item gets. purity: how much of the items that share their first symbol must be of
    one planted cluster (0 for tokenizers whose codes do not follow the representation).
    """

    codes_per_item: int = 1
    purity: float = 0.9

    @abstractmethod
    def make(self) -> ItemTokenizer:
        """A new tokenizer, not fitted."""

    def vectors(self) -> tuple[Dense, np.ndarray]:
        return clustered_vectors()

    def fitted(self) -> ItemTokenizer:
        return self.make().fit(self.vectors()[0])

    def codes(self) -> Codes:
        return self.fitted().assign(self.vectors()[0])

    def test_every_item_has_its_codes_within_the_level_sizes(self) -> None:
        codes, n = self.codes(), len(self.vectors()[0])
        np.testing.assert_array_equal(np.bincount(codes.item, minlength=n), self.codes_per_item)
        assert codes.version
        assert all(len(set(codes.of_item(row))) == self.codes_per_item for row in range(n))

    def test_fitting_twice_gives_the_same_codes(self) -> None:
        assert self.codes().fingerprint == self.codes().fingerprint

    def test_another_fit_is_another_version(self) -> None:
        other = self.make().fit(clustered_vectors(seed=1)[0])
        assert other.assign(clustered_vectors(seed=1)[0]).version != self.codes().version

    def test_a_batch_equals_its_items(self) -> None:
        tokenizer, (vectors, _) = self.fitted(), self.vectors()
        whole = tokenizer.assign(vectors)
        for row in (0, 7, len(vectors) - 1):
            assert tokenizer.assign(vectors.take(np.array([row]))).of_item(0) == whole.of_item(row)

    def test_saved_and_opened_it_assigns_the_same(self, tmp_path: Path) -> None:
        tokenizer = self.fitted()
        tokenizer.save(tmp_path)
        opened = type(tokenizer).open(tmp_path)
        assert opened.assign(self.vectors()[0]).fingerprint == self.codes().fingerprint

    def test_vectors_of_another_space_are_refused(self) -> None:
        tokenizer = self.fitted()
        with pytest.raises(SpaceMismatchError):
            tokenizer.assign(clustered_vectors(seed=1)[0])

    def test_first_symbols_follow_the_planted_clusters(self) -> None:
        codes, (_, label) = self.codes(), self.vectors()
        first = codes.values[codes.offsets[:-1]][: len(label)]
        table = np.zeros((int(first.max()) + 1, int(label.max()) + 1))
        np.add.at(table, (first, label), 1)
        assert table.max(1).sum() / len(label) >= self.purity

    def test_new_vectors_get_codes(self) -> None:
        vectors, _ = self.vectors()
        moved = Dense(normalize(vectors.values[:20] + 0.01), vectors.space)
        assert len(self.fitted().assign(moved)) == 20 * self.codes_per_item
