"""The index inside a model: rotations stay rotations, losses fall, codes are the nearest."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from itemspace.nn.index_layer import IndexLayer, lloyd  # noqa: E402


def correlated(n: int, d: int = 16) -> np.ndarray:
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((d, d)) * np.linspace(2, 0.1, d)[:, None]
    return (rng.standard_normal((n, d)) @ mix).astype(np.float32)


def started(lists: int = 4, pieces: int = 4, size: int = 8, rate: float = 0.01) -> tuple[IndexLayer, torch.Tensor]:
    values = correlated(2000)
    layer = IndexLayer(16, lists=lists, pieces=pieces, size=size, rate=rate)
    layer.start(values, 0)
    return layer, torch.from_numpy(values)


def test_before_it_starts_vectors_pass_as_they_are():
    vectors = torch.randn(5, 16)
    layer = IndexLayer(16, lists=2, pieces=4, size=4)
    assert layer(vectors) is vectors
    assert float(layer.distortion) == 0.0


def test_what_is_kept_is_the_nearest_center_piece_by_piece():
    layer, values = started()
    layer.eval()
    turned = values[:50] @ layer.rotation.float()
    lists, codes = layer.lists(turned), layer.codes(turned)
    for i in range(50):
        near = ((turned[i] - layer.centers) ** 2).sum(1).argmin()
        assert int(near) == int(lists[i])
        left = (turned[i] - layer.centers[near]).reshape(4, 4)
        for piece in range(4):
            assert int(codes[i, piece]) == int(((left[piece] - layer.codebooks[piece]) ** 2).sum(1).argmin())
    back = layer(values[:50])
    assert torch.allclose(back, layer.kept(turned) @ layer.rotation.float().T, atol=1e-4)


def test_the_gradient_passes_straight_through():
    layer, values = started()
    vectors = values[:20].clone().requires_grad_()
    weight = torch.randn(20, 16)
    (layer(vectors) * weight).sum().backward()
    assert torch.allclose(vectors.grad, weight)


def test_turning_lowers_the_distortion_and_keeps_the_rotation_one():
    layer, values = started()
    with torch.no_grad():
        layer.rotation.copy_(torch.eye(16, dtype=torch.float64))
    layer.train()
    optimizer = torch.optim.Adam([layer.centers, layer.codebooks], 0.01)
    losses = []
    for _ in range(300):
        optimizer.zero_grad()
        layer(values[torch.randint(0, 2000, (256,))])
        layer.distortion.backward()
        optimizer.step()
        losses.append(float(layer.distortion.detach()))
    rotation = layer.weights().rotation
    assert np.abs(rotation @ rotation.T - np.eye(16)).max() < 1e-5
    assert np.abs(rotation - np.eye(16)).max() > 0.1
    assert np.mean(losses[-20:]) < 0.8 * np.mean(losses[:5])


def test_one_step_turns_against_the_slope():
    layer, values = started(rate=1e-4)
    layer.train()

    def lost() -> float:
        with torch.no_grad():
            turned = values.double() @ layer.rotation
            kept = layer.kept(turned.float()).double()
            return float(((turned - kept) ** 2).sum(1).mean())

    with torch.no_grad():
        noise = np.linalg.qr(np.eye(16) + 0.05 * np.random.default_rng(1).standard_normal((16, 16)))[0]
        layer.rotation.copy_(layer.rotation @ torch.from_numpy(noise))
    before = lost()
    layer(values)
    layer.distortion.backward()
    assert lost() < before


def test_k_means_finds_planted_centers_and_fills_empty_ones():
    rng = np.random.default_rng(3)
    planted = 10 * rng.standard_normal((6, 3)).astype(np.float32)
    values = np.repeat(planted, 30, 0) + 0.01 * rng.standard_normal((180, 3)).astype(np.float32)
    _, label = lloyd(values, 6, rng, start=np.repeat(planted[:1], 6, 0))
    assert len(np.unique(label)) == 6
    centers, _ = lloyd(values, 6, rng, start=planted + 1)
    gap = np.linalg.norm(centers[:, None] - planted, axis=2).min(0)
    assert gap.max() < 0.1
