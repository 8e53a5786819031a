"""The vector cache: nothing is encoded twice, nothing half-written is read."""

import numpy as np
import pytest

from itemspace.core.requests import Requests
from itemspace.encode.cache import CachedEncoder, VectorCache, content_keys, encode_catalog
from itemspace.encode.lsa import LSAEncoder
from itemspace.testing.encoder import product_catalog


class Counting(LSAEncoder):
    """Remembers how many inputs it was asked for; stops after `limit`."""

    asked = 0
    limit = 10**9

    def encode(self, inputs, *, role):
        if self.asked + len(inputs) > self.limit:
            raise KeyboardInterrupt
        self.asked += len(inputs)
        return super().encode(inputs, role=role)


@pytest.fixture
def catalog():
    return product_catalog()


@pytest.fixture
def encoder(catalog):
    return Counting(dimension=16).fit(catalog)


def test_a_second_build_encodes_nothing(encoder, catalog, tmp_path):
    first = encode_catalog(encoder, catalog, cache=tmp_path, chunk_size=64)
    assert encoder.asked == len(catalog)
    second = encode_catalog(encoder, catalog, cache=tmp_path, chunk_size=100)
    assert encoder.asked == len(catalog)
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.values, encoder.encode(catalog, role="item").values)


def test_a_killed_build_continues_where_it_was(encoder, catalog, tmp_path):
    encoder.limit = 200
    with pytest.raises(KeyboardInterrupt):
        encode_catalog(encoder, catalog, cache=tmp_path, chunk_size=64)
    assert encoder.asked == 192
    encoder.limit = 10**9
    vectors = encode_catalog(encoder, catalog, cache=tmp_path, chunk_size=64)
    assert encoder.asked == len(catalog)
    np.testing.assert_array_equal(vectors.values, LSAEncoder.encode(encoder, catalog, role="item").values)


@pytest.mark.parametrize("damage", ["no keys", "cut keys", "cut vectors", "left aside"])
def test_a_half_written_shard_is_ignored(encoder, catalog, tmp_path, damage):
    encode_catalog(encoder, catalog, cache=tmp_path, chunk_size=200)
    keys, vectors = sorted(tmp_path.rglob("*.keys.npy"))[0], sorted(tmp_path.rglob("*.vectors.npy"))[0]
    hurt = vectors if damage == "cut vectors" else keys
    if damage == "no keys":
        keys.unlink()
    elif damage == "left aside":
        keys.rename(keys.with_suffix(".tmp"))
    else:
        hurt.write_bytes(hurt.read_bytes()[: hurt.stat().st_size // 2])
    again = encode_catalog(encoder, catalog, cache=tmp_path)
    assert encoder.asked == len(catalog) + 200
    np.testing.assert_array_equal(again.values, LSAEncoder.encode(encoder, catalog, role="item").values)


def test_another_fit_or_role_shares_nothing(encoder, catalog, tmp_path):
    cached = CachedEncoder(encoder, tmp_path)
    texts = Requests.texts(["blue tent", "blue tent", "red rope"])
    cached.encode(texts, role="query")
    assert encoder.asked == 2  # equal texts are encoded once
    cached.encode(texts, role="item")
    assert encoder.asked == 4
    cached.fit(product_catalog(things=("drum", "harp", "cello")))
    cached.encode(texts, role="query")
    assert encoder.asked == 6


def test_only_what_the_encoder_reads_is_the_key(catalog):
    by_title = LSAEncoder(columns=("title",))
    keys = content_keys(by_title, catalog)
    assert len(np.unique(keys, axis=0)) == len(catalog)
    renamed = catalog.table.set_column(0, "id", [[f"other{i}" for i in range(len(catalog))]])
    other = type(catalog).from_table(renamed, overrides={"id": "id", "title": "text"})
    np.testing.assert_array_equal(np.unique(keys, axis=0), np.unique(content_keys(by_title, other), axis=0))


def test_a_large_catalogue_is_written_to_a_memory_map(encoder, catalog, tmp_path):
    vectors = encode_catalog(encoder, catalog, out=tmp_path / "v.npy", chunk_size=37)
    assert isinstance(vectors.values, np.memmap)
    np.testing.assert_array_equal(vectors.values, LSAEncoder.encode(encoder, catalog, role="item").values)
    assert [p.name for p in tmp_path.iterdir()] == ["v.npy"]


def test_lookups_agree_with_a_dictionary(encoder, tmp_path):
    rng = np.random.default_rng(0)
    cache = VectorCache(tmp_path, encoder.space, "item")
    kept = {}
    for _ in range(5):
        keys = rng.integers(0, 40, (30, 2)).astype(np.uint64)
        keys = np.unique(keys[cache.find(keys) < 0], axis=0)
        vectors = rng.standard_normal((len(keys), encoder.space.dimension)).astype(np.float32)
        cache.append(keys, vectors)
        kept.update({tuple(k): v for k, v in zip(keys.tolist(), vectors, strict=True)})
        asked = rng.integers(0, 40, (200, 2)).astype(np.uint64)
        found = VectorCache(tmp_path, encoder.space, "item").find(asked)
        assert (found >= 0).tolist() == [tuple(k) in kept for k in asked.tolist()]
        hit = np.flatnonzero(found >= 0)
        expected = np.array([kept[tuple(k)] for k in asked[hit].tolist()]).reshape(len(hit), -1)
        np.testing.assert_array_equal(VectorCache(tmp_path, encoder.space, "item").get(found[hit]), expected)
