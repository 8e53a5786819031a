"""`TransformerEncoder`: the encoder contract, learning that is learning, published weights, saved and opened."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from itemspace.core.errors import ArtifactError, ContractError, DataError
from itemspace.core.operators import Encoded
from itemspace.core.requests import Requests
from itemspace.data.splits.queries import split_queries
from itemspace.data.worlds.wordings import passages
from itemspace.encode.engagement import Engagement
from itemspace.encode.transformer import TransformerConfig, TransformerEncoder
from itemspace.evaluate.evaluation import evaluate
from itemspace.index.flat import FlatIndex
from itemspace.testing.encoder import EncoderContract

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")
SMALL = TransformerConfig(
    hidden_size=32, num_layers=1, num_heads=2, inner_size=64, max_length=24, vocabulary=1000, learning_rate=0.003
)


class TestTransformer(EncoderContract):
    tolerance = 1e-5

    def make(self):
        return TransformerEncoder(SMALL)


class TestTransformerCosine(EncoderContract):
    tolerance = 1e-5

    def make(self):
        return TransformerEncoder(SMALL.model_copy(update={"metric": "cosine", "batch_tokens": 60}))


def mrr(encoder, data, task):
    return evaluate(Encoded(encoder, FlatIndex()).build(data.catalog), task, ["mrr@10"])["mrr@10"]


@pytest.mark.parametrize("loss", ["multi-label-margin", "infonce"])
def test_pairs_teach_which_words_say_the_same_and_noise_teaches_nothing(loss):
    config = SMALL.model_copy(update={"loss": loss, "epochs": 8, "batch_size": 32, "learning_rate": 0.006})
    found = {}
    for randomness in (0.0, 1.0):
        data = passages(100, 700, concepts=14, wordings=3, fillers=4, randomness=randomness, rng=0).data
        train, test = split_queries(data, 0.8, 0)
        encoder = TransformerEncoder(config)
        untrained = mrr(TransformerEncoder(config).fit(data.catalog), data, test)
        report = encoder.learn(data.catalog, Engagement.of_task(train), rng=0)
        assert report.epochs == 8
        found[randomness] = untrained, mrr(encoder, data, test), report.curve["loss"]
    assert found[0.0][2][-1] < 0.5 * found[0.0][2][0]
    assert found[0.0][0] < 0.25
    assert found[0.0][1] > found[0.0][0] + 0.25
    assert found[1.0][1] < 0.1


def test_mining_and_large_batches_are_options_of_the_same_training():
    data = passages(60, 120, concepts=12, rng=1).data
    train, _ = split_queries(data, 0.8, 0)
    config = SMALL.model_copy(update={"epochs": 1, "rounds": 2, "hard_negatives": 3, "chunk": 10, "metric": "cosine"})
    report = TransformerEncoder(config).learn(data.catalog, Engagement.of_task(train))
    assert report.epochs == 2
    assert "hard negatives for" in report.notes[0]


def test_published_weights_start_it_and_it_encodes_what_they_encode(minilm, tmp_path):
    from itemspace.encode.sentence_transformer import SentenceTransformerEncoder

    encoder = TransformerEncoder(start=str(minilm), metric="cosine", max_length=64)
    contract = TestTransformer()
    catalog = contract.catalog()
    encoder.fit(catalog)
    texts = Requests.texts(["waterproof boots", "", "Crème brûlée für zwei"])
    found = encoder.encode(texts, role="query").values
    library = SentenceTransformerEncoder(model=str(minilm), max_length=64, precision="float32")
    np.testing.assert_allclose(found, library.encode(texts, role="query").values, atol=1e-4)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ArtifactError, match="gpt2"):
        TransformerEncoder(start=str(tmp_path)).fit(catalog)
    with pytest.raises(ArtifactError, match="cannot be read"):
        TransformerEncoder(start=str(tmp_path / "nowhere")).fit(catalog)


def test_what_it_saves_transformers_can_read_and_changed_weights_are_noticed(tmp_path):
    encoder = TestTransformer().fitted()
    encoder.save(tmp_path)
    save_file = pytest.importorskip("safetensors.torch").save_file
    module = encoder._module
    told = json.loads((tmp_path / "config.json").read_text())
    assert told["vocab_size"] == module.embeddings["word_embeddings"].weight.shape[0]
    weights = {name: value.contiguous() + 1e-3 for name, value in module.state_dict().items()}
    shutil.copytree(tmp_path, tmp_path / "other")
    save_file(weights, tmp_path / "other" / "model.safetensors")
    with pytest.raises(ArtifactError, match="not those"):
        TransformerEncoder.open(tmp_path / "other")


def test_what_cannot_be_learned_is_refused():
    data = passages(30, 20, concepts=12, rng=2).data
    nothing = Engagement(("a",), np.zeros(0, int), np.zeros(0, np.int32), np.zeros(0))
    with pytest.raises(DataError, match="nothing to learn"):
        TransformerEncoder(SMALL).learn(data.catalog, nothing)
    with pytest.raises(ContractError, match="fit"):
        TransformerEncoder(SMALL).encode(Requests.texts(["a"]), role="query")
