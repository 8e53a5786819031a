"""Bits: products in whole numbers three ways, layers that add up, what is learned, another model's queries."""

import numpy as np
import pytest

from itemspace.core.errors import ContractError, MissingExtraError, RecipeError
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index.binarize import (
    Binarizer,
    itq_binarizer,
    packed,
    products,
    products_reference,
    sign_binarizer,
    values_of,
)
from itemspace.index.binary import BinaryIndex
from itemspace.index.engines.bits import BitScan
from itemspace.index.flat import FlatIndex
from itemspace.index.rows import SlotSet

N, D = 3000, 32
SPACE = VectorSpace("test", D, "cosine", normalized=True)


def clustered(n: int, seed: int) -> Dense:
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(9).standard_normal((40, D))
    values = centers[rng.integers(0, 40, n)] + 0.6 * rng.standard_normal((n, D))
    return Dense((values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32), SPACE)


def recall(found, exact) -> float:
    shared = [len(set(a) & set(b) - {-1}) for a, b in zip(found.rows.tolist(), exact.rows.tolist(), strict=True)]
    return sum(shared) / exact.rows.size


@pytest.mark.parametrize("width", [8, 24, 64, 100])
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_products_of_codes_equal_the_float_recompute(width, layers):
    rng = np.random.default_rng(width + layers)
    asked = rng.choice([-1.0, 1.0], (5, layers, width)).astype(np.float32)
    held = rng.choice([-1.0, 1.0], (70, layers, width)).astype(np.float32)
    codes, scale = packed(held), 4 ** (layers - 1)
    for one in asked:
        expected = products_reference(one, held) * scale
        np.testing.assert_array_equal(products(packed(one), codes, width), expected)
        np.testing.assert_array_equal(values_of(codes, width) @ values_of(packed(one)[None], width)[0], expected)


def test_a_batch_and_a_query_are_counted_alike_whatever_the_way():
    binarizer = sign_binarizer(clustered(500, 0).values, 128, 2, 0)
    scan = BitScan(SPACE, lambda sample, seed: binarizer, unit=False)
    scan.train(clustered(500, 0).values, 1, 500, 0)
    scan.add(np.arange(N), clustered(N, 0).values)
    codes = scan.encode(clustered(200, 1).values)
    slots, distances = scan.search(codes, 50, SlotSet(None, N))
    for i in range(0, 200, 20):
        alone, near = scan.search(codes[i : i + 1], 50, SlotSet(None, N))
        np.testing.assert_array_equal(alone[0], slots[i])
        np.testing.assert_array_equal(near[0], distances[i])


def test_layers_of_signs_add_up_to_the_vector():
    # Uniform values and the right scale: each layer halves what is left.
    values = np.random.default_rng(0).uniform(-1, 1, (4000, 16)).astype(np.float32)
    left = []
    for layers in (1, 2, 3):
        binarizer = itq_binarizer(values, 16, layers, 0)
        signs = binarizer.signs(values)
        back = np.einsum("nlm,l->nm", signs, 0.5 ** np.arange(layers)) @ binarizer.layers[0].back
        left.append(float(((values - binarizer.mean - back) ** 2).mean()))
    assert left[1] < 0.7 * left[0]
    assert left[2] < 0.7 * left[1]


def test_itq_loses_less_than_signs_of_a_random_rotation():
    values = clustered(2000, 0).values

    def lost(binarizer: Binarizer) -> float:
        turned = (values - binarizer.mean) @ binarizer.layers[0].turn
        size = np.abs(turned).mean()
        return float(((turned - size * np.sign(turned)) ** 2).sum() / (turned**2).sum())

    assert lost(itq_binarizer(values, D, 1, 0)) < lost(sign_binarizer(values, D, 1, 0))


def test_recall_rises_with_bits():
    queries = clustered(100, 1)
    exact = FlatIndex().build([clustered(N, 0)]).search(queries, 10)
    found = [
        recall(BinaryIndex(bits=bits, rerank=0).build([clustered(N, 0)]).search(queries, 10), exact)
        for bits in (16, 32, 64, 128)
    ]
    assert all(after > before + 0.02 for before, after in zip(found, found[1:], strict=False)), found


def test_too_many_bits_for_itq_are_refused():
    with pytest.raises(RecipeError, match="layers"):
        BinaryIndex(bits=64, layers=1).shape(32)
    assert BinaryIndex(bits=64).shape(32) == (32, 2)
    assert BinaryIndex(bits=64, layers=1, method="sign").shape(32) == (64, 1)


def test_damaged_bits_are_made_again(tmp_path):
    queries, index = clustered(20, 1), BinaryIndex(rerank=50).build([clustered(N, 0)])
    expected = index.search(queries, 10)
    for broken in ("bits.npy", "binarizer-mean.npy"):
        index.save(tmp_path)
        path = tmp_path / broken
        path.write_bytes(path.read_bytes()[:-9] + b"123456789" if broken == "bits.npy" else b"")
        np.testing.assert_array_equal(BinaryIndex.open(tmp_path).search(queries, 10).rows, expected.rows)


@pytest.fixture(scope="module")
def learned():
    pytest.importorskip("torch")
    from itemspace.index.binarize_training import BinarizerTraining, trained_binarizer

    values = clustered(N, 0).values
    start = itq_binarizer(values, 16, 1, 0)
    settings = BinarizerTraining(epochs=3, hidden=32, sample=2000)
    return start, trained_binarizer(values, start, settings, seed=0), settings


def uneven(n: int, seed: int) -> Dense:
    """Vectors in clusters that spread far in some directions and hardly in others."""
    rng = np.random.default_rng(seed)
    centers = 1.5 * np.random.default_rng(9).standard_normal((40, D))
    values = centers[rng.integers(0, 40, n)] + rng.standard_normal((n, D)) * np.linspace(1.5, 0.1, D)
    return Dense((values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32), SPACE)


def test_learned_bits_find_more_than_what_they_started_from_and_never_less():
    pytest.importorskip("torch")
    from itemspace.index.binarize_training import BinarizerTraining, trained_binarizer

    items, queries = uneven(2000, 0), uneven(200, 1)
    exact = FlatIndex().build([items]).search(queries, 10)
    index = BinaryIndex(method="sign", bits=D, rerank=0).build([items])

    def found(binarizer: Binarizer) -> float:
        return recall(index.holding(binarizer).search(queries, 10), exact)

    start = itq_binarizer(items.values, D, 1, 0)
    trained = trained_binarizer(items.values, start, BinarizerTraining(epochs=8, hidden=32), seed=0)
    assert found(trained) > found(start) + 0.01
    # Learned far too fast the networks find nothing: what was there before is kept.
    wild = trained_binarizer(items.values, start, BinarizerTraining(epochs=1, hidden=32, learning_rate=30.0), seed=0)
    assert wild is start
    with pytest.raises(ContractError, match="dimensions"):
        index.holding(itq_binarizer(items.values[:, :8], 8, 1, 0))


def test_the_recurrence_learned_in_torch_is_the_one_searched_in_numpy(learned, tmp_path):
    from itemspace.index.binarize_training import BinarizerTraining, trained_binarizer

    values = clustered(1200, 0).values
    start = itq_binarizer(values, D, 2, 0)
    trained = trained_binarizer(values, start, BinarizerTraining(epochs=1, hidden=16), seed=1)
    again = trained_binarizer(values, start, BinarizerTraining(epochs=1, hidden=16), seed=1)
    assert trained.fingerprint == again.fingerprint != start.fingerprint
    trained.save(tmp_path)
    np.testing.assert_array_equal(Binarizer.open(tmp_path, unit=True).encode(values), trained.encode(values))


def test_queries_of_a_newer_model_search_the_older_ones_bits(learned):
    from itemspace.index.binarize_training import Older, trained_binarizer

    _, old, settings = learned
    items, queries = clustered(N, 0), clustered(100, 1)
    # The newer model sees the same things turned round and a little differently.
    turn = np.linalg.qr(np.random.default_rng(4).standard_normal((D, D)))[0].astype(np.float32)
    newer = VectorSpace("newer", D, "cosine", normalized=True)
    made = trained_binarizer(
        items.values @ turn,
        itq_binarizer(items.values @ turn, 16, 1, 1),
        settings,
        older=Older(items.values, old),
        seed=2,
    )
    index = BinaryIndex(bits=16, rerank=0, method="recurrent", epochs=1, hidden=8).build([items])
    index._engine = BitScan(SPACE, lambda sample, seed: old, unit=True)
    index._engine.train(items.values, 1, N, 0)
    index._engine.add(np.arange(N), items.values)
    exact = FlatIndex().build([items]).search(queries, 10)
    turned = Dense(queries.values @ turn, newer)
    across = recall(index.asked_by(newer, made).search(turned, 10), exact)
    apart = recall(index.asked_by(newer, itq_binarizer(items.values @ turn, 16, 1, 1)).search(turned, 10), exact)
    assert across > 0.75 * recall(index.search(queries, 10), exact)
    assert apart < 0.5 * across
    within = Selection.of_rows(np.arange(7), N)
    assert (np.sort(index.asked_by(newer, made).search(turned, 10, within).rows[:, :7], 1) == np.arange(7)).all()
    with pytest.raises(ContractError, match="bits per layer"):
        index.asked_by(newer, itq_binarizer(items.values, 8, 1, 1))


def test_learning_bits_without_torch_names_the_extra(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"itemspace\[train\]"):
        BinaryIndex(method="recurrent").build([clustered(600, 0)])
