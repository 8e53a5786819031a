"""Every encoder against the encoder contract."""

import pytest

from itemspace.encode.cache import CachedEncoder
from itemspace.encode.fields import TextFields
from itemspace.encode.lsa import LSAEncoder
from itemspace.encode.micro_batching import MicroBatchedEncoder
from itemspace.encode.sentence_transformer import SentenceTransformerEncoder
from itemspace.testing.encoder import EncoderContract


class TestLSA(EncoderContract):
    def make(self):
        return LSAEncoder(dimension=32)


class TestLSAWordsOnly(EncoderContract):
    def make(self):
        return LSAEncoder(dimension=16, characters=(), chunk_size=13)


class TestTextFields(EncoderContract):
    learns = False

    def make(self):
        return TextFields(columns=("title",))


class TestCached(EncoderContract):
    tolerance = 0.0

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path_factory):
        self.cache = tmp_path_factory.mktemp("cache")

    def make(self):
        return CachedEncoder(LSAEncoder(dimension=16), self.cache, chunk_size=50)


class TestSentenceTransformer(EncoderContract):
    """On real weights, offline. A vector in bfloat16, where that is fast, moves a little with its batch."""

    tolerance = 5e-3
    precision = "auto"
    learns = False

    @pytest.fixture(scope="class", autouse=True)
    def loaded(self, request, minilm):
        request.cls.encoder = SentenceTransformerEncoder(
            model=str(minilm), max_length=32, batch_tokens=500, precision=self.precision
        )

    def make(self):
        return self.encoder


class TestSentenceTransformerFloat32(TestSentenceTransformer):
    tolerance = 1e-5
    precision = "float32"


class TestMicroBatched(EncoderContract):
    tolerance = 1e-6

    def make(self):
        return MicroBatchedEncoder(LSAEncoder(dimension=16))
