"""What every encoder must do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Encoder, Role
from itemspace.core.requests import Requests
from itemspace.core.vectors import Dense, Gaussian, Multi, Sparse, Texts, Vectors

_COLORS = ("red", "blue", "green", "black", "white", "yellow", "brown", "grey")
_THINGS = ("boots", "tent", "lamp", "jacket", "kettle", "bicycle", "backpack", "stove", "rope", "compass")
_USES = ("waterproof hiking", "ultralight camping", "winter mountain", "city commuting", "family garden")


def product_catalog(*, things: tuple[str, ...] = _THINGS, colors: tuple[str, ...] = _COLORS) -> Catalog:
    """A catalogue of every color, thing and use, as one title each."""
    titles = [f"{color} {thing} for {use}" for color in colors for thing in things for use in _USES]
    table = pa.table({"id": [f"p{i}" for i in range(len(titles))], "title": titles})
    return Catalog.from_table(table, overrides={"id": "id", "title": "text"})


def arrays(vectors: Vectors) -> tuple[Any, ...]:
    """The arrays (or strings) that vectors consist of, to compare them by."""
    if isinstance(vectors, Dense):
        return (vectors.values,)
    if isinstance(vectors, Sparse):
        return (vectors.values.toarray(),)
    if isinstance(vectors, Multi):
        return (vectors.values, np.diff(vectors.offsets))
    if isinstance(vectors, Gaussian):
        return (vectors.mean, vectors.variance)
    return tuple(np.array(values, object) for values in vectors.fields.values())


def same(left: Vectors, right: Vectors, *, tolerance: float = 0.0) -> None:
    """Assert that two batches of vectors are equal, numbers within `tolerance`."""
    assert type(left) is type(right)
    for a, b in zip(arrays(left), arrays(right), strict=True):
        assert a.shape == b.shape
        if a.dtype == object or tolerance == 0:
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, atol=tolerance, rtol=0)


class EncoderContract(ABC):
    """Subclass it as `class TestMine(EncoderContract)` and say how to make one.

    tolerance: how far a vector may move with the batch it is encoded in (0: not at all). learns: whether `fit` learns
    from the catalogue. Override `catalog`, `other_catalog` and `requests` where the encoder reads more than text.
    """

    tolerance: float = 0.0
    learns: bool = True

    @abstractmethod
    def make(self) -> Encoder:
        """A new encoder, not fitted."""

    def catalog(self) -> Catalog:
        return product_catalog()

    def other_catalog(self) -> Catalog:
        """Another catalogue, from which an encoder that learns must learn something else."""
        return product_catalog(things=("violin", "trumpet", "drum", "cello", "harp", "flute"), colors=_COLORS[:4])

    def requests(self) -> Requests:
        return Requests.texts(["waterproof boots", "blue camping lamp", "compass", "a green winter jacket"])

    def fitted(self) -> Encoder:
        return self.make().fit(self.catalog())

    def inputs(self) -> tuple[tuple[Catalog | Requests, Role], tuple[Catalog | Requests, Role]]:
        return (self.catalog(), "item"), (self.requests(), "query")

    def test_one_vector_per_input_of_the_stated_space(self) -> None:
        encoder = self.fitted()
        for inputs, role in self.inputs():
            vectors = encoder.encode(inputs, role=role)
            assert len(vectors) == len(inputs)
            if isinstance(vectors, Texts):
                continue
            assert vectors.space == encoder.space
            width = arrays(vectors)[0].shape[1]
            assert width == encoder.space.dimension
            assert np.isfinite(arrays(vectors)[0]).all()

    def test_normalized_means_length_one(self) -> None:
        encoder = self.fitted()
        if not encoder.space.normalized:
            return
        for inputs, role in self.inputs():
            lengths = np.linalg.norm(arrays(encoder.encode(inputs, role=role))[0], axis=1)
            np.testing.assert_allclose(lengths, 1, atol=1e-3)

    def test_encoding_twice_gives_the_same(self) -> None:
        encoder = self.fitted()
        for inputs, role in self.inputs():
            same(encoder.encode(inputs, role=role), encoder.encode(inputs, role=role))

    def test_fitting_twice_gives_the_same(self) -> None:
        one, two = self.fitted(), self.fitted()
        assert one.space == two.space
        same(one.encode(self.requests(), role="query"), two.encode(self.requests(), role="query"))

    def test_a_batch_equals_its_parts_and_keeps_their_order(self) -> None:
        encoder = self.fitted()
        for inputs, role in self.inputs():
            rows = np.arange(len(inputs))[::-1][:9]
            whole = encoder.encode(inputs, role=role)
            same(whole.take(rows), encoder.encode(inputs.take(rows), role=role), tolerance=self.tolerance)
            for row in rows[:3]:
                one = encoder.encode(inputs.take(np.array([row])), role=role)
                same(whole.take(np.array([row])), one, tolerance=self.tolerance)

    def test_chunks_equal_the_whole(self) -> None:
        encoder, catalog = self.fitted(), self.catalog()
        whole = encoder.encode(catalog, role="item")
        start = 0
        for part in catalog.chunks(7):
            rows = np.arange(start, start + len(part))
            same(whole.take(rows), encoder.encode(part, role="item"), tolerance=self.tolerance)
            start += len(part)
        assert start == len(whole)

    def test_saved_and_opened_it_is_the_same_encoder(self, tmp_path: Path) -> None:
        encoder = self.fitted()
        encoder.save(tmp_path)
        opened = type(encoder).open(tmp_path)
        assert opened.space == encoder.space
        assert opened.config == encoder.config
        for inputs, role in self.inputs():
            same(encoder.encode(inputs, role=role), opened.encode(inputs, role=role))

    def test_any_text_is_encoded(self) -> None:
        encoder = self.fitted()
        if "text" not in encoder.consumes:
            return
        texts = [
            "",
            " ",
            "\0",
            "\U0001f97e\u200d",
            "防水ブーツ",
            "Größe ÅÄÖ",
            "\ud800",
            "boots " * 20_000,
            "!?",
            "boots",
        ]
        vectors = encoder.encode(Requests.texts(texts), role="query")
        assert len(vectors) == len(texts)
        if not isinstance(vectors, Texts):
            assert np.isfinite(arrays(vectors)[0]).all()

    def test_learning_from_other_items_makes_another_space(self) -> None:
        if not self.learns:
            return
        one, other = self.fitted(), self.make().fit(self.other_catalog())
        assert one.space != other.space
