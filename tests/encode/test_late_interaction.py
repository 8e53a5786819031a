"""A vector per token of real weights, offline: the library's own states, the texts' own order, one space per model."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from itemspace.core.errors import ArtifactError
from itemspace.core.requests import Requests
from itemspace.encode.late_interaction import LateInteractionEncoder
from itemspace.index.multi_vector import MaxSimIndex
from itemspace.index.muvera import MuveraIndex
from itemspace.testing.encoder import EncoderContract, product_catalog

pytest.importorskip("torch")
TEXTS = ["Waterproof boots, for hiking!", "kettle", "", "tea-water heater", "..."]


@pytest.fixture(scope="module")
def folder(minilm):
    return minilm


class TestLateInteraction(EncoderContract):
    tolerance = 1e-4
    learns = False
    folder = None

    @pytest.fixture(autouse=True)
    def _folder(self, minilm):
        type(self).folder = minilm

    def make(self):
        return LateInteractionEncoder(model=str(self.folder), precision="float32", max_length=32)

    def catalog(self):
        return product_catalog(colors=("red", "blue"))


class TestLateInteractionShortened(TestLateInteraction):
    learns = True

    def make(self):
        return LateInteractionEncoder(model=str(self.folder), precision="float32", max_length=16, dimension=24)


def test_it_gives_the_librarys_states_without_marks_and_punctuation(folder):
    encoder = LateInteractionEncoder(model=str(folder), precision="float32")
    asked = encoder.encode(Requests.texts(TEXTS), role="query")
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    for i, text in enumerate(TEXTS):
        states = model.encode([text], output_value="token_embeddings")[0].float().numpy()[1:-1]
        states /= np.linalg.norm(states, axis=1, keepdims=True)
        assert len(asked[i]) == len(states)
        np.testing.assert_allclose(asked[i], states, atol=2e-5)
    as_item = encoder.encode(Requests.texts(TEXTS), role="item")
    assert (np.diff(asked.offsets) - np.diff(as_item.offsets)).tolist() == [2, 0, 0, 1, 3]
    held = LateInteractionEncoder(model=str(folder), precision="float32", marks=True, punctuation=True)
    assert held.space != encoder.space
    assert len(held.encode(Requests.texts(TEXTS), role="item")[0]) == len(asked[0]) + 2


def test_half_precision_stays_close_and_finds_the_same(folder):
    catalog = product_catalog()
    exact = LateInteractionEncoder(model=str(folder), precision="float32")
    lower = LateInteractionEncoder(model=str(folder), precision="bfloat16", storage="float16")
    requests = Requests.texts(["red kettle for mountains in the cold", "ultralight rope"])
    a, b = (e.encode(requests, role="query").values.astype(np.float32) for e in (exact, lower))
    assert (a * b).sum(1).min() > 0.99
    first = (exact >> MaxSimIndex()).build(catalog).search(requests, 1)
    second = (lower >> MuveraIndex()).build(catalog).search(requests, 1)
    title = catalog.texts(["title"])
    assert title[first.rows[0, 0]] == title[second.rows[0, 0]] == "red kettle for winter mountain"
    assert "rope for ultralight" in title[second.rows[1, 0]]


def test_another_model_in_its_place_is_refused_and_a_bundled_one_needs_none(folder, tmp_path):
    model, saved, whole = tmp_path / "model", tmp_path / "saved", tmp_path / "whole"
    shutil.copytree(folder, model)
    for place, bundle in ((saved, False), (whole, True)):
        place.mkdir()
        encoder = LateInteractionEncoder(model=str(model), bundle=bundle, precision="float32")
        expected = encoder.encode(Requests.texts(TEXTS), role="query").values
        encoder.save(place)
    from safetensors.numpy import load_file, save_file

    weights = load_file(model / "model.safetensors")
    name = next(name for name in weights if name.endswith("word_embeddings.weight"))
    save_file(
        {**weights, name: weights[name] * np.float32(1.01)}, model / "model.safetensors", metadata={"format": "pt"}
    )
    with pytest.raises(ArtifactError, match="not the one"):
        LateInteractionEncoder.open(saved).encode(Requests.texts(TEXTS), role="query")
    shutil.rmtree(model)
    with pytest.raises(ArtifactError, match="cannot be read"):
        LateInteractionEncoder.open(saved).encode(Requests.texts(TEXTS), role="query")
    opened = LateInteractionEncoder.open(whole).encode(Requests.texts(TEXTS), role="query").values
    np.testing.assert_array_equal(opened, expected)
