"""The packed backbone against itself on one history at a time, and its bfloat16 path against float32."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from itemspace.core.ragged import Ragged  # noqa: E402
from itemspace.nn.causal import CausalBackbone, CausalConfig  # noqa: E402
from itemspace.train.packing import pack  # noqa: E402

SETTINGS = [{}, {"norm": "pre", "scale_embeddings": True}, {"num_layers": 1}, {"num_layers": 0}]


def made(**settings) -> CausalBackbone:
    sizes = {"embedding_size": 16, "num_heads": 2, "inner_size": 32, "max_length": 12, "initial_std": 0.3}
    module = CausalBackbone(40, CausalConfig(**{**sizes, **settings}))
    module.reset(torch.Generator().manual_seed(0))
    return module


def packed(n: int = 30) -> tuple[Ragged, list[torch.Tensor], torch.Tensor]:
    rng = np.random.default_rng(0)
    histories = Ragged.from_lists([rng.integers(0, 40, rng.integers(1, 13)) for _ in range(n)])
    laid = pack(histories, 16)
    return (
        histories,
        [torch.from_numpy(x) for x in (laid.items, laid.position, laid.segment)],
        torch.from_numpy(laid.at),
    )


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_packed_history_gives_the_states_it_gives_alone(settings):
    module = made(**settings).eval()
    histories, inputs, at = packed()
    with torch.inference_mode():
        together = module(*inputs).flatten(0, 1)[at]
        for history in range(len(histories)):
            items = torch.from_numpy(histories[history]).long()[None]
            alone = module(items, torch.arange(items.shape[1])[None], torch.ones_like(items))[0]
            mine = together[int(histories.offsets[history]) : int(histories.offsets[history + 1])]
            torch.testing.assert_close(mine, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", SETTINGS)
def test_states_at_some_places_are_those_of_all_places(settings):
    module = made(**settings).eval()
    histories, inputs, at = packed()
    last = at[torch.from_numpy(histories.offsets[1:] - 1)]
    with torch.inference_mode():
        torch.testing.assert_close(module(*inputs, last), module(*inputs).flatten(0, 1)[last], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_bfloat16_blocks_train_near_float32_ones(norm):
    module = made(norm=norm, dropout=0.0, attention_dropout=0.0).train()
    _, inputs, at = packed()
    towards = torch.randn(len(at), 16, generator=torch.Generator().manual_seed(1))
    gradients = {}
    for dtype in (torch.float32, torch.bfloat16):
        module.dtype = dtype
        module.zero_grad()
        states = module(*inputs).flatten(0, 1)[at]
        assert states.dtype == torch.float32
        (states * towards).sum().backward()
        gradients[dtype] = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    assert all(gradient.dtype == torch.float32 for gradient in gradients[torch.bfloat16].values())
    for name, exact in gradients[torch.float32].items():
        assert float((gradients[torch.bfloat16][name] - exact).norm() / exact.norm().clamp_min(1e-3)) < 0.05, name


def test_bfloat16_is_for_training_alone():
    module = made().eval()
    _, inputs, _ = packed()
    with torch.inference_mode():
        exact = module(*inputs)
        module.dtype = torch.bfloat16
        assert torch.equal(module(*inputs), exact)
