"""The loop stops when it should, keeps its best weights, and survives being killed."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from itemspace.core.contracts import Budget  # noqa: E402
from itemspace.nn.dropout import dropout  # noqa: E402
from itemspace.train.loop import Loop, LoopConfig  # noqa: E402


class Killed(Exception):
    """Stands for SIGKILL: nothing after it runs."""


def loop(config: LoopConfig, *, checkpoint=None, validate=None, die_in: int | None = None, seed: int = 0):
    """A linear model with dropout on random data; `die_in` raises in the middle of that epoch."""
    module = torch.nn.Linear(6, 1)
    with torch.no_grad():
        module.weight.fill_(0.1)
        module.bias.fill_(0.0)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32))
    y = x.sum(1, keepdim=True)
    seen = {"batches": 0}

    def batches(rng: np.random.Generator):
        for part in np.array_split(rng.permutation(64), 4):
            seen["batches"] += 1
            if die_in is not None and seen["batches"] > 4 * die_in + 2:
                raise Killed
            yield torch.from_numpy(part)

    def loss(part):
        return ((module(dropout(x[part], 0.25, module.training)) - y[part]) ** 2).mean()

    made = Loop(module, loss, batches, config, seed=seed, validate=validate, checkpoint=checkpoint)
    return made, module


def weights(module) -> np.ndarray:
    return np.concatenate([p.detach().numpy().ravel() for p in module.parameters()])


def test_it_learns_and_the_same_seed_gives_the_same_weights():
    config = LoopConfig(epochs=6, learning_rate=0.05, patience=None)
    one, a = loop(config)
    report = one.run()
    assert report.curve["loss"][-1] < report.curve["loss"][0]
    two, b = loop(config)
    two.run()
    np.testing.assert_array_equal(weights(a), weights(b))
    other, c = loop(config, seed=1)
    other.run()
    assert not np.array_equal(weights(a), weights(c))


def test_the_callers_random_state_is_left_alone():
    made, _ = loop(LoopConfig(epochs=1, patience=None))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    made.run()
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("die_in", [0, 1, 4])
def test_a_killed_run_continues_to_the_same_result(tmp_path, die_in):
    figures = lambda module: lambda: -float(abs(module.weight.detach().mean() - 0.4))  # noqa: E731
    config = LoopConfig(epochs=6, learning_rate=0.05, patience=None)
    whole, a = loop(config)
    whole.validate = figures(a)
    expected = whole.run()
    path = tmp_path / "run.safetensors"
    first, module = loop(config, checkpoint=path, die_in=die_in)
    first.validate = figures(module)
    with pytest.raises(Killed):
        first.run()
    assert path.exists() == (die_in > 0)
    second, b = loop(config, checkpoint=path)
    second.validate = figures(b)
    report = second.run()
    np.testing.assert_array_equal(weights(a), weights(b))
    assert report.curve == expected.curve
    assert (report.best_epoch, report.epochs) == (expected.best_epoch, expected.epochs)
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]


def test_a_checkpoint_of_another_training_is_not_continued(tmp_path):
    path = tmp_path / "run.safetensors"
    config = LoopConfig(epochs=2, patience=None)
    loop(config, checkpoint=path)[0].run()
    assert loop(config, checkpoint=path, seed=1)[0].run().epochs == 2
    fresh, a = loop(config, seed=1)
    fresh.run()
    again, b = loop(config, checkpoint=path, seed=1)
    again.run()
    np.testing.assert_array_equal(weights(a), weights(b))


def test_it_stops_when_nothing_gets_better_and_keeps_the_best():
    values = iter([0.1, 0.5, 0.4, 0.3, 0.2, 0.9])
    made, module = loop(LoopConfig(epochs=10, patience=2, learning_rate=0.05))
    held = []

    def validate() -> float:
        held.append(weights(module))
        return next(values)

    made.validate = validate
    report = made.run()
    assert (report.epochs, report.best_epoch) == (4, 2)
    assert "no better" in report.stopped
    np.testing.assert_array_equal(weights(module), held[1])


def test_a_budget_ends_it():
    assert loop(LoopConfig(epochs=50, patience=None))[0].run(Budget(epochs=3)).epochs == 3
    report = loop(LoopConfig(epochs=5000, patience=None))[0].run(Budget(seconds=0.2))
    assert report.epochs < 5000
    assert "0.2 seconds" in report.stopped
