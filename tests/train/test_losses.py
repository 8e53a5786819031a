"""The chunked and sampled losses against the formula written out in torch."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from itemspace.train.losses.binary import BinaryCrossEntropy  # noqa: E402
from itemspace.train.losses.full_softmax import FullSoftmax  # noqa: E402
from itemspace.train.losses.listwise import ListwiseSoftmax  # noqa: E402
from itemspace.train.losses.sampled_softmax import SampledSoftmax  # noqa: E402
from itemspace.train.samplers import PopularitySampler  # noqa: E402


def inputs(tokens: int = 37, items: int = 50, size: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, size, generator=draw, requires_grad=True)
    table = torch.randn(items, size, generator=draw, requires_grad=True)
    return hidden, table, torch.randint(0, items, (tokens,), generator=draw)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("rows", [1, 7, 100])
def test_full_softmax_equals_cross_entropy_whatever_the_chunk(rows, smoothing):
    hidden, table, targets = inputs()
    expected = torch.nn.functional.cross_entropy(hidden @ table.T, targets, label_smoothing=smoothing)
    want = torch.autograd.grad(expected, (hidden, table))
    loss = FullSoftmax(chunk_mb=(rows + 0.5) * 50 * 4 / 2**20, label_smoothing=smoothing)
    value = loss(hidden, table, targets)
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    got = torch.autograd.grad(value * 3, (hidden, table))
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(one, 3 * other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("norm", [6.0, 300.0])
def test_full_softmax_holds_no_more_logits_than_stated(dtype, norm):
    # 500 tokens of 3,000 items: the whole matrix would take 6 MB in float32, the item table takes 48 kB.
    hidden, table, targets = inputs(tokens=500, items=3000, size=4)
    hidden = (hidden * norm / 6).detach().requires_grad_()
    loss = FullSoftmax(chunk_mb=0.25, dtype=dtype)
    largest, *others = sizes_of(lambda: loss(hidden, table, targets).backward())
    assert 0.15 * 2**20 < largest <= 0.25 * 2**20
    assert others[0] < 2**17
    again = sizes_of(lambda: loss(hidden.detach().requires_grad_(), table, targets).backward())
    assert again[:2] == [largest, others[0]]  # the buffer of the first call is used again


def test_one_tokens_logits_are_the_least_a_chunk_holds():
    loss = FullSoftmax(chunk_mb=0.001)
    hidden, table, targets = inputs(tokens=9, items=3000, size=4)
    assert sizes_of(lambda: loss(hidden, table, targets).backward())[0] <= 3000 * 4 * 4
    assert [loss.rows(n) for n in (10, 100, 2_000_000)] == [16, 2, 1]
    usual = FullSoftmax(dtype=torch.bfloat16)
    for items in (1_000, 12_101, 50_000, 300_000, 3_000_000):
        assert usual.rows(items) * items * 2 <= 16 * 2**20
        assert usual.rows(items, 1494) <= usual.rows(items)


class Sizes(TorchDispatchMode):
    """Bytes of every tensor any operation makes (once per piece of memory), the largest first."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[int, int] = {}
        self.kept: list[torch.Tensor] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for one in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(one, torch.Tensor) and one.untyped_storage().data_ptr() not in self.seen:
                self.seen[one.untyped_storage().data_ptr()] = one.untyped_storage().nbytes()
                self.kept.append(one)  # so that no later tensor gets its address
        return made


def sizes_of(call) -> list[int]:
    with Sizes() as sizes:
        call()
    return sorted(sizes.seen.values(), reverse=True)


@pytest.mark.parametrize("norm", [1.0, 40.0, 4000.0])
def test_full_softmax_of_large_logits_neither_overflows_nor_vanishes(norm):
    hidden, table, targets = inputs(tokens=64)
    hidden = (hidden * norm).detach().requires_grad_()
    expected = torch.nn.functional.cross_entropy(hidden @ table.T, targets)
    want = torch.autograd.grad(expected, (hidden, table))
    value = FullSoftmax()(hidden, table, targets)
    assert float(value) == pytest.approx(float(expected), rel=1e-4)
    for one, other in zip(torch.autograd.grad(value, (hidden, table)), want, strict=True):
        assert float((one - other).norm() / other.norm()) < 1e-4


def test_full_softmax_in_bfloat16_is_near():
    hidden, table, targets = inputs(tokens=200)
    exact, rough = FullSoftmax(), FullSoftmax(dtype=torch.bfloat16)
    want = torch.autograd.grad(exact(hidden, table, targets), (hidden, table))
    got = torch.autograd.grad(rough(hidden, table, targets), (hidden, table))
    for one, other in zip(got, want, strict=True):
        assert float((one - other).norm() / other.norm()) < 0.02


def test_binary_cross_entropy_by_hand():
    hidden = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    table = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    value = BinaryCrossEntropy()(hidden, table, torch.tensor([0, 1]), torch.tensor([[1], [2]]))
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    expected = -np.mean([np.log(sigmoid(1)), np.log(sigmoid(2))]) - np.mean(
        [np.log(1 - sigmoid(0)), np.log(1 - sigmoid(2))]
    )
    assert float(value) == pytest.approx(expected, rel=1e-6)


def test_sampled_softmax_approaches_the_full_one_with_many_negatives():
    hidden, table, targets = inputs(tokens=64)
    full = float(FullSoftmax()(hidden, table, targets))
    sampler = PopularitySampler(np.arange(50) % 5, power=0.75)
    errors = []
    for count in (30, 20_000):
        negatives = torch.from_numpy(sampler.draw(count, np.random.default_rng(1)))
        value = SampledSoftmax()(hidden, table, targets, negatives, torch.from_numpy(sampler.expected(count)))
        errors.append(abs(float(value) - full))
    # What remains is the target itself, counted once by itself and once in the sample's expectation less its masking.
    assert errors[1] < 0.02
    assert errors[1] < errors[0]


def test_dropout_drops_the_stated_share_and_keeps_the_mean():
    from itemspace.nn.dropout import dropout

    torch.manual_seed(0)
    x = torch.ones(300, 333, requires_grad=True)
    for rate in (0.1, 0.5):
        out = dropout(x, rate, True)
        assert float((out == 0).float().mean()) == pytest.approx(rate, abs=0.01)
        assert float(out.mean()) == pytest.approx(1.0, abs=0.01)
        out.sum().backward()
        torch.testing.assert_close(x.grad, out.detach())
        x.grad = None
    assert dropout(x, 0.5, False) is x


def test_sampled_softmax_is_the_formula_written_out():
    hidden, table, targets = inputs(tokens=20)
    sampler = PopularitySampler(np.arange(50) % 5)
    negatives = torch.from_numpy(sampler.draw(30, np.random.default_rng(0)))
    expected = torch.from_numpy(sampler.expected(30))
    losses = []
    for line, target in zip(hidden, targets.tolist(), strict=True):
        others = [n for n in negatives.tolist() if n != target]
        chances = torch.stack([line @ table[n] - expected[n].log() for n in others])
        losses.append(torch.logsumexp(torch.cat([chances, (line @ table[target])[None]]), 0) - line @ table[target])
    wanted = torch.stack(losses).mean()
    want = torch.autograd.grad(wanted, (hidden, table))
    for dtype, near in ((torch.float32, 1e-5), (torch.bfloat16, 0.02)):
        value = SampledSoftmax(dtype=dtype)(hidden, table, targets, negatives, expected)
        assert float(value.detach()) == pytest.approx(float(wanted.detach()), rel=near)
        for one, other in zip(torch.autograd.grad(value, (hidden, table)), want, strict=True):
            assert float((one - other).norm() / other.norm()) < near


def test_a_sampled_negative_that_is_every_tokens_target_leaves_the_target_alone():
    hidden, table, _ = inputs(tokens=5)
    targets = torch.full((5,), 7)
    value = SampledSoftmax()(hidden, table, targets, torch.full((4,), 7), torch.ones(50))
    assert float(value.detach()) == 0.0


def test_listwise_softmax_equals_the_lists_one_by_one():
    draw = torch.Generator().manual_seed(3)
    scores, relevance = (torch.randn(4, 5, generator=draw), torch.rand(4, 5, generator=draw))
    present = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]], dtype=torch.bool)
    relevance[2] = 0  # prefers nothing: left out
    scores.requires_grad_()
    value = ListwiseSoftmax()(scores, relevance, present)
    wanted = []
    for row in (0, 1, 3):
        here = present[row]
        chance = torch.softmax(scores[row][here], 0)
        share = relevance[row][here] / relevance[row][here].sum()
        wanted.append(-(share * chance.log()).sum())
    expected = torch.stack(wanted).mean()
    assert float(value) == pytest.approx(float(expected), rel=1e-6)
    gradient = torch.autograd.grad(value, scores, retain_graph=True)[0]
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, scores)[0], rtol=1e-5, atol=1e-7)
    assert (gradient[~present] == 0).all()
