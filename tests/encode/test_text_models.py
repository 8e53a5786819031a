"""Fast ways to run a text model give the vectors of the slow, obvious one: the library, one text at a time, float32."""

import numpy as np
import pytest

from itemspace.core.errors import ContractError, RecipeError
from itemspace.core.requests import Requests
from itemspace.core.vectors import normalize
from itemspace.encode import text_models
from itemspace.encode.sentence_transformer import SentenceTransformerEncoder
from itemspace.encode.text_models import Shift
from itemspace.testing.encoder import product_catalog

TEXTS = [*text_models.PROBES, *product_catalog().texts(["title"])[:40], "long " * 400]


@pytest.fixture(scope="module")
def library(minilm):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(minilm), device="cpu")


@pytest.fixture(scope="module")
def exact(library):
    return library.encode(TEXTS, batch_size=1, normalize_embeddings=True, show_progress_bar=False)


def vectors(encoder, texts=TEXTS, role="item"):
    return encoder.encode(Requests.texts(texts), role=role).values


def test_float32_equals_the_library_one_by_one(minilm, exact):
    encoder = SentenceTransformerEncoder(model=str(minilm), precision="float32")
    np.testing.assert_allclose(vectors(encoder), exact, atol=1e-5)
    assert encoder.told == {"runs": "packed BERT", "precision": "float32", "notes": [], "shift": None}
    whole = vectors(SentenceTransformerEncoder(model=str(minilm), precision="float32", batch_tokens=64))
    np.testing.assert_allclose(whole, exact, atol=1e-5)


def test_bfloat16_shares_the_space_because_it_stays_close(minilm, exact):
    lower = SentenceTransformerEncoder(model=str(minilm), precision="bfloat16")
    assert lower.space == SentenceTransformerEncoder(model=str(minilm), precision="float32").space
    shift = Shift.between(vectors(lower), exact)
    assert shift.small
    assert shift.least < 1 - 1e-7  # it is another precision
    assert lower.fit(product_catalog()).told["shift"]["texts"] == 128


def test_a_shift_too_large_makes_another_space_or_is_not_taken(minilm, monkeypatch, exact):
    exact_space = SentenceTransformerEncoder(model=str(minilm), precision="float32").space
    monkeypatch.setattr(text_models, "MIN_COSINE", 0.9999999)
    monkeypatch.setattr(text_models, "_fast_bfloat16", lambda model: True)
    asked = SentenceTransformerEncoder(model=str(minilm), precision="bfloat16")
    assert asked.space != exact_space
    assert asked.told["precision"] == "bfloat16"
    chosen = SentenceTransformerEncoder(model=str(minilm))
    assert chosen.space == exact_space
    assert chosen.told["precision"] == "float32"
    assert "too far" in chosen.told["notes"][0]


def test_a_model_it_would_get_wrong_runs_in_its_own_code(minilm, library, monkeypatch, exact):
    from dataclasses import replace

    real = text_models.bert_shape(library)
    monkeypatch.setattr(text_models, "bert_shape", lambda model: replace(real, num_heads=6))
    encoder = SentenceTransformerEncoder(model=str(minilm), precision="float32")
    np.testing.assert_allclose(vectors(encoder), exact, atol=1e-5)
    assert encoder.told["runs"] == "sentence-transformers"
    assert "does not reproduce" in encoder.told["notes"][0]


@pytest.fixture(scope="module")
def other(minilm, tmp_path_factory):
    """A small random model that is not of BERT's kind, with CLS pooling, a projection and prompts of its own."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers import models as parts
    from transformers import AutoTokenizer, DistilBertConfig, DistilBertModel

    folder = tmp_path_factory.mktemp("other")
    torch.manual_seed(0)
    DistilBertModel(DistilBertConfig(dim=32, n_layers=2, n_heads=4, hidden_dim=64)).save_pretrained(folder / "inner")
    AutoTokenizer.from_pretrained(str(minilm)).save_pretrained(folder / "inner")
    first = parts.Transformer(str(folder / "inner"), max_seq_length=24)
    made = SentenceTransformer(
        modules=[first, parts.Pooling(32, pooling_mode="cls"), parts.Dense(32, 20)],
        prompts={"query": "ask: ", "document": ""},
        device="cpu",
    )
    made.save(str(folder / "model"))
    return folder / "model"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_any_other_model_keeps_its_own_modules_and_prompts(other, precision):
    from sentence_transformers import SentenceTransformer

    library = SentenceTransformer(str(other), device="cpu")
    encoder = SentenceTransformerEncoder(model=str(other), precision=precision, batch_tokens=200)
    assert encoder.told["runs"] == "sentence-transformers"
    for role, prompt in (("item", None), ("query", "ask: ")):
        exact = normalize(np.stack([library.encode(text, prompt=prompt) for text in TEXTS]))
        assert exact.shape[1] == 20
        np.testing.assert_allclose(vectors(encoder, role=role), exact, atol=1e-5 if precision == "float32" else 0.03)
    with pytest.raises(ContractError, match="BERT's kind"):
        vectors(SentenceTransformerEncoder(model=str(other), backend="onnx"))


def test_onnx_float32_is_the_same_space_and_int8_another(minilm, exact, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    plain = SentenceTransformerEncoder(model=str(minilm), backend="onnx", batch_tokens=512)
    np.testing.assert_allclose(vectors(plain), exact, atol=1e-5)
    assert plain.space == SentenceTransformerEncoder(model=str(minilm), precision="float32").space
    small = SentenceTransformerEncoder(model=str(minilm), backend="onnx", precision="int8")
    assert small.space != plain.space
    assert small.fit(product_catalog()) is small
    shift = small.told["shift"]
    assert 0.95 < shift["least"] <= shift["mean"] < 0.9999  # it moves, and the encoder says by how much
    small.save(tmp_path)
    assert SentenceTransformerEncoder.open(tmp_path).told["shift"] == shift


def test_precision_and_backend_must_fit(minilm):
    with pytest.raises(RecipeError, match='needs backend="onnx"'):
        SentenceTransformerEncoder(model=str(minilm), precision="int8")
    with pytest.raises(RecipeError, match='needs backend="torch"'):
        SentenceTransformerEncoder(model=str(minilm), backend="onnx", precision="bfloat16")


def test_no_texts_are_no_vectors(minilm):
    encoder = SentenceTransformerEncoder(model=str(minilm))
    assert vectors(encoder, []).shape == (0, 384)


def test_texts_beyond_one_window_are_in_their_place(minilm, monkeypatch, exact):
    from itemspace.encode import sentence_transformer

    monkeypatch.setattr(sentence_transformer, "_WINDOW", 7)
    encoder = SentenceTransformerEncoder(model=str(minilm), precision="float32")
    np.testing.assert_allclose(vectors(encoder), exact, atol=1e-5)
