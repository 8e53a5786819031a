"""A vector from the wrong space is refused by every index that holds vectors, and by what composes them."""

import numpy as np
import pytest

from itemspace.core.errors import SpaceMismatchError
from itemspace.core.requests import Requests
from itemspace.encode.lsa import LSAEncoder
from itemspace.index.flat import FlatIndex
from itemspace.index.hnsw import HNSWIndex
from itemspace.testing.encoder import product_catalog
from itemspace.testing.vectors import refuses_other_spaces


@pytest.mark.parametrize("index", [FlatIndex, HNSWIndex])
def test_indexes_refuse_other_spaces(index):
    catalog = product_catalog()
    vectors = LSAEncoder(dimension=16).fit(catalog).encode(catalog, role="item")
    refuses_other_spaces(index().build([vectors], ties=catalog.ids.ties), vectors.take(np.arange(6)))


def test_an_encoder_refitted_or_aligned_no_longer_fits_its_index():
    catalog = product_catalog()
    encoder = LSAEncoder(dimension=16).fit(catalog)
    retriever = (encoder >> FlatIndex()).build(catalog)
    requests = Requests.texts(["red rope"])
    assert retriever.search(requests, 3).found[0] == 3
    vectors = encoder.encode(catalog, role="item")
    encoder.align(vectors.take(np.arange(100)), vectors.take(np.arange(100, 200)))
    with pytest.raises(SpaceMismatchError, match="another space"):
        retriever.search(requests, 3)
    with pytest.raises(SpaceMismatchError):
        encoder >> retriever.index
