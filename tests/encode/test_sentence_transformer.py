"""Pretrained models on real weights, offline: the space follows the weights, not the name."""

import shutil

import numpy as np
import pytest

from itemspace.core import extras
from itemspace.core.errors import ArtifactError, MissingExtraError
from itemspace.core.requests import Requests
from itemspace.encode.sentence_transformer import SentenceTransformerEncoder
from itemspace.testing.encoder import product_catalog

TEXTS = ["waterproof boots for hiking in the rain", "kettle", "a", "shoes that keep water out", "tea water heater"]


@pytest.fixture(scope="module")
def folder(minilm):
    return minilm


@pytest.fixture(scope="module")
def encoder(folder):
    return SentenceTransformerEncoder(model=str(folder), precision="float32")


def encode(encoder, texts=TEXTS, role="query"):
    return encoder.encode(Requests.texts(texts), role=role).values


def test_it_agrees_with_the_library_and_knows_meaning(encoder, folder):
    vectors = encode(encoder)
    from sentence_transformers import SentenceTransformer

    expected = SentenceTransformer(str(folder)).encode(TEXTS, normalize_embeddings=True, batch_size=1)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    similar = vectors @ vectors.T - 2 * np.eye(len(TEXTS))
    assert similar[0].argmax() == 3
    assert similar[1].argmax() == 4


def test_the_space_follows_the_weights_and_what_shapes_a_vector(encoder, folder, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    assert SentenceTransformerEncoder(model=str(moved)).space == encoder.space
    prompted = SentenceTransformerEncoder(model=str(folder), query_prompt="query: ", precision="float32")
    assert prompted.space != encoder.space
    assert SentenceTransformerEncoder(model=str(folder), max_length=8).space != encoder.space
    assert SentenceTransformerEncoder(model=str(folder), batch_size=1).space == encoder.space
    np.testing.assert_allclose(encode(prompted, ["boots"]), encode(encoder, ["query: boots"]), atol=1e-5)
    np.testing.assert_allclose(encode(prompted, ["boots"], "item"), encode(encoder, ["boots"]), atol=1e-5)


def test_an_opened_encoder_knows_its_space_and_refuses_another_model(encoder, folder, tmp_path):
    model, saved = tmp_path / "model", tmp_path / "saved"
    shutil.copytree(folder, model)
    saved.mkdir()
    SentenceTransformerEncoder(model=str(model)).save(saved)
    opened = SentenceTransformerEncoder.open(saved)
    assert opened.space == encoder.space
    assert "_model" not in vars(opened)  # nothing was loaded to say so
    from safetensors.numpy import load_file, save_file

    weights = load_file(model / "model.safetensors")
    name = next(name for name in weights if name.endswith("word_embeddings.weight"))
    weights[name] = weights[name] * np.float32(1.01)
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match="not the one"):
        encode(opened)
    shutil.rmtree(model)
    with pytest.raises(ArtifactError, match="no sentence-transformers model"):
        encode(SentenceTransformerEncoder.open(saved))


def test_a_bundled_encoder_needs_only_its_folder(folder, tmp_path):
    model, saved = tmp_path / "model", tmp_path / "saved"
    shutil.copytree(folder, model)
    saved.mkdir()
    encoder = SentenceTransformerEncoder(model=str(model), bundle=True)
    expected = encode(encoder)
    encoder.save(saved)
    shutil.rmtree(model)
    np.testing.assert_array_equal(encode(SentenceTransformerEncoder.open(saved)), expected)


def test_items_are_read_from_their_columns(encoder):
    catalog = product_catalog().take(np.arange(4))
    np.testing.assert_allclose(
        encoder.encode(catalog, role="item").values, encode(encoder, catalog.texts(["title"])), atol=1e-5
    )


def test_without_the_extra_the_install_line_is_named(monkeypatch, tmp_path):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"itemspace\[text\]"):
        encode(SentenceTransformerEncoder(model="any"))
