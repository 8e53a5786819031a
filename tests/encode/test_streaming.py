"""Vectors of a catalogue that is read in chunks equal those of the whole."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from itemspace.core.contracts import Encoder
from itemspace.core.errors import ContractError
from itemspace.data.stream import StreamedCatalog
from itemspace.encode.fields import TextFields
from itemspace.encode.lsa import LSAEncoder
from itemspace.encode.streaming import encode_chunks, encode_to_file
from itemspace.testing.encoder import product_catalog


@pytest.fixture(scope="module")
def encoder():
    return LSAEncoder(dimension=16).fit(product_catalog())


@pytest.mark.parametrize(("size", "window"), [(7, 50), (50, 7), (400, 64), (1, 400), (64, 64)])
def test_one_answer_per_chunk_equal_to_the_whole(encoder, size, window):
    catalog = product_catalog()
    parts = list(encode_chunks(encoder, catalog.chunks(size), window=window))
    assert [len(part) for part in parts] == [len(chunk) for chunk in catalog.chunks(size)]
    whole = encoder.encode(catalog, role="item").values
    np.testing.assert_allclose(np.concatenate([part.values for part in parts]), whole, atol=1e-6)


class Watched(Encoder):
    """Records how many items each call had."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.sizes = encoder, []

    @property
    def space(self):
        return self.encoder.space

    def encode(self, inputs, *, role):
        self.sizes.append(len(inputs))
        return self.encoder.encode(inputs, role=role)

    def save(self, folder): ...

    @classmethod
    def open(cls, folder): ...


def test_no_more_than_a_window_is_read_ahead(encoder):
    watched, read = Watched(encoder), []

    def chunks():
        for chunk in product_catalog().chunks(10):
            read.append(len(chunk))
            yield chunk

    for number, _ in enumerate(encode_chunks(watched, chunks(), window=40), 1):
        assert sum(read) - 10 * number <= 40
    assert max(watched.sizes) <= 40
    assert len(watched.sizes) == len(product_catalog()) // 40


def test_a_streamed_catalogue_is_written_by_row(encoder, tmp_path):
    catalog = product_catalog()
    pa.parquet.write_table(catalog.table, tmp_path / "items.parquet")
    streamed = StreamedCatalog.open(tmp_path / "items.parquet", chunk_rows=23)
    made = encode_to_file(encoder, streamed.chunks(), len(streamed), tmp_path / "vectors.npy", window=60)
    assert isinstance(made.values, np.memmap)
    rows = catalog.rows(streamed.ids.values.to_pylist())
    np.testing.assert_allclose(made.values, encoder.encode(catalog, role="item").values[rows], atol=1e-6)
    assert not list(tmp_path.glob("*.tmp"))


def test_other_vectors_are_refused():
    with pytest.raises(ContractError, match="Texts"):
        list(encode_chunks(TextFields(), product_catalog().chunks(10)))
