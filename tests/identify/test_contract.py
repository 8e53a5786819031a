"""Every tokenizer against the contract."""

import numpy as np
import pytest
import scipy.sparse as sp

from itemspace.core.errors import ContractError
from itemspace.core.plugins import BUILTIN, find
from itemspace.core.vectors import Dense, Sparse, Texts, VectorSpace, normalize
from itemspace.identify.categories import CategoryCodes
from itemspace.identify.code_rows import concatenated, padded
from itemspace.identify.digits import RandomCodes, SequentialCodes
from itemspace.identify.fsq import FSQ
from itemspace.identify.health import gini
from itemspace.identify.hierarchical_kmeans import HierarchicalKMeans
from itemspace.identify.product import ProductCodes
from itemspace.identify.residual_kmeans import ResidualKMeans
from itemspace.identify.spectral import SpectralCodes
from itemspace.identify.titles import TitleCodes
from itemspace.testing.codes import clustered_vectors
from itemspace.testing.tokenizer import TokenizerContract


class TestResidualKMeans(TokenizerContract):
    def make(self):
        return ResidualKMeans(levels=3, codebook_size=6, engine="numpy")


class TestResidualKMeansByFaiss(TokenizerContract):
    def make(self):
        pytest.importorskip("faiss")
        return ResidualKMeans(levels=2, codebook_size=8, engine="faiss")


class TestPlainResiduals(TokenizerContract):
    def make(self):
        return ResidualKMeans(levels=3, codebook_size=6, normalize_residuals=False, engine="numpy")


class TestProductCodes(TokenizerContract):
    follows = False

    def make(self):
        return ProductCodes(levels=3, codebook_size=8, engine="numpy")


class TestPlainProductCodes(TokenizerContract):
    follows = False

    def make(self):
        return ProductCodes(levels=5, codebook_size=4, rotate=False, engine="numpy")


class TestFSQ(TokenizerContract):
    follows = False

    def make(self):
        return FSQ(levels=2, bins=(4, 3, 2))


class TestHierarchicalKMeans(TokenizerContract):
    def make(self):
        return HierarchicalKMeans(branches=6, leaf=10)


class TestRandomCodes(TokenizerContract):
    follows = False

    def make(self):
        return RandomCodes(levels=2, codebook_size=16, collisions="extra_token")

    def stranger(self):
        return None

    def test_no_two_items_share_a_code(self):
        super().test_no_two_items_share_a_code()
        moved = RandomCodes(levels=2, codebook_size=32).fit(self.items()).assign(self.items())
        assert moved.collisions == 0
        assert moved.level_sizes == (32, 32)


class TestTitleCodes(TokenizerContract):
    follows = False

    def make(self):
        return TitleCodes(words=3, vocabulary=12, buckets=4)

    def items(self):
        rng = np.random.default_rng(0)
        words = np.array(
            ["red", "blue", "green", "boot", "shoe", "hat", "coat", "scarf", "the", "new", "old", "big", "small"]
        )
        titles = [" ".join(rng.choice(words, rng.integers(0, 5))) for _ in range(300)]
        return Texts({"title": tuple(titles)})

    def others(self):
        return Texts({"title": ("", "red boot", "Red BOOT!", "unseen words", "coat", "coat", *["hat"] * 50)})

    def stranger(self):
        return None


class TestCategoryCodes(TokenizerContract):
    follows = False

    def make(self):
        return CategoryCodes(most=3)

    def items(self):
        rng = np.random.default_rng(0)
        names = np.array(["shoes", "hats", "bags", "", "belts"])
        return Texts({name: tuple(rng.choice(names, 300).tolist()) for name in ("department", "category")})

    def others(self):
        return Texts({"department": ("shoes", "new", "") * 20, "category": ("hats", "hats", None) * 20})

    def stranger(self):
        return None

    def test_other_columns_are_refused(self):
        with pytest.raises(ContractError, match="department"):
            self.fitted().assign(Texts({"brand": ("a",)}))


class TestSequentialCodes(TokenizerContract):
    follows = False

    def make(self):
        return SequentialCodes(base=8)

    def items(self):
        return Dense(np.random.default_rng(0).permutation(300)[:, None].astype(np.float64), VectorSpace("n", 1))

    def others(self):
        return Dense(np.arange(300, 350)[:, None].astype(np.float64), VectorSpace("n", 1))

    def stranger(self):
        return None

    def test_a_batch_equals_its_items(self):
        tokenizer, items = self.fitted(), self.items()
        whole = tokenizer.assign(items)
        assert tokenizer.assign(items.take(np.array([5])))[0] == whole[5]


def block_affinity(n=300, clusters=5, seed=0):
    """A block affinity with noise, ten items that nobody met, and the block of every item."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, clusters, n)
    together = rng.poisson(np.where(label[:, None] == label, 0.5, 0.01))
    together = np.triu(together, 1)
    together = together + together.T
    together[-10:] = together[:, -10:] = 0
    space = VectorSpace(f"blocks-{seed}", n, "dot")
    return Sparse(sp.csr_matrix(together.astype(np.float32)), space), label


class TestSpectralCodes(TokenizerContract):
    def make(self):
        return SpectralCodes(branches=5, leaf=20)

    def vectors(self):
        return block_affinity()

    def items(self):
        return block_affinity()[0]

    def others(self):
        return self.items().take(np.arange(40))

    def stranger(self):
        return block_affinity(seed=1)[0]

    def test_items_nobody_met_stand_apart(self):
        codes = padded(self.codes())
        assert (codes[-10:, 0] == 5).all()
        assert (codes[:-10, 0] < 5).all()


def test_every_tokenizer_is_found_by_its_name():
    for name in BUILTIN["tokenizers"]:
        assert hasattr(find("tokenizers", name), "assign")


def test_vectors_are_read_in_blocks_of_a_mapped_file(tmp_path):
    vectors = clustered_vectors(40_000, seed=5)[0]
    np.save(tmp_path / "v.npy", vectors.values)
    mapped = Dense(np.load(tmp_path / "v.npy", mmap_mode="r"), vectors.space)
    tokenizer = ResidualKMeans(levels=2, codebook_size=16, engine="numpy", iterations=3)
    one = tokenizer.fit(vectors).assign(vectors)
    assert one.fingerprint == tokenizer.fit(mapped).assign(mapped).fingerprint
    parts = np.concatenate([tokenizer.levels(mapped.take(np.arange(a, a + 97))) for a in range(0, 970, 97)])
    np.testing.assert_array_equal(parts, tokenizer.levels(mapped)[:970])


def test_hybrid_ids_are_both_codes_in_order():
    tree = HierarchicalKMeans(branches=4, leaf=20)
    vectors = clustered_vectors()[0]
    one = tree.fit(vectors).assign(vectors)
    other = RandomCodes(levels=2, codebook_size=32).fit(vectors).assign(vectors)
    both = concatenated(one, other)
    assert [both[i] for i in range(len(both))] == [one[i] + other[i] for i in range(len(one))]
    assert both.collisions == 0


@pytest.mark.parametrize("scaled", [True, False])
def test_more_levels_stand_for_the_vectors_more_closely(scaled):
    vectors = clustered_vectors(500)[0]
    error = []
    for levels in (1, 2, 3, 4):
        tokenizer = ResidualKMeans(levels=levels, codebook_size=8, normalize_residuals=scaled, engine="numpy").fit(
            vectors
        )
        error.append(float(((tokenizer.decode(tokenizer.levels(vectors)).values - vectors.values) ** 2).mean()))
    assert error == sorted(error, reverse=True)
    assert error[-1] < 0.7 * error[0]


def test_scaled_residuals_use_later_levels_evenly():
    """Most items near a center, a few far from all: plain residuals spend their symbols on the few."""
    rng = np.random.default_rng(0)
    center = normalize(rng.standard_normal((8, 16)))
    spread = np.where(rng.random(2000) < 0.9, 0.02, 0.3)[:, None]
    values = normalize(center[rng.integers(0, 8, 2000)] + spread * rng.standard_normal((2000, 16)))
    vectors = Dense(values, VectorSpace("few-far", 16, "cosine", True))
    uneven = {
        scaled: gini(np.bincount(tokenizer.levels(vectors)[:, 1], minlength=32))
        for scaled in (True, False)
        for tokenizer in [
            ResidualKMeans(levels=2, codebook_size=32, normalize_residuals=scaled, engine="numpy").fit(vectors)
        ]
    }
    assert uneven[True] < uneven[False] - 0.2
