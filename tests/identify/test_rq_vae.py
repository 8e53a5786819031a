"""RQ-VAE: the contract, what keeps it from collapsing, and what alignment and diversity do."""

import subprocess
import sys

import numpy as np
import pytest

from itemspace.core.errors import ContractError
from itemspace.core.vectors import Dense, VectorSpace, normalize
from itemspace.identify.health import gini
from itemspace.identify.kmeans import nearest
from itemspace.identify.rq_vae import RQVAE
from itemspace.testing.tokenizer import TokenizerContract

torch = pytest.importorskip("torch")

SMALL = {"hidden_sizes": (32,), "latent_size": 8, "epochs": 8, "batch_size": 64, "precision": "float32"}


class TestRQVAE(TokenizerContract):
    purity = 0.75

    def make(self):
        return RQVAE(levels=2, codebook_size=12, **SMALL)


def textlike(n=1500, dimension=48, seed=0):
    """Vectors as text encoders give them: a common direction, a decaying spectrum, small numbers."""
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, dimension + 1) ** -0.7
    values = rng.standard_normal((n, dimension)) * spectrum + 2.0 * rng.standard_normal(dimension)
    return Dense(normalize(values.astype(np.float32)), VectorSpace(f"text-{seed}", dimension, "cosine", True))


def test_defaults_use_their_symbols_and_published_settings_collapse():
    vectors = textlike()
    good = RQVAE(levels=2, codebook_size=32, **SMALL).fit(vectors)
    published = RQVAE(
        levels=2, codebook_size=32, standardize=False, initialization="random", repair=False, weight_decay=0.0, **SMALL
    )
    with pytest.warns(UserWarning, match="collapsed"):
        published.fit(vectors)
    assert good.report.curve["perplexity-1"][-1] > 16
    assert published.report.curve["perplexity-1"][-1] < 4
    assert any("at the end" in note for note in published.report.notes)
    assert not any("at the end" in note for note in good.report.notes)


def test_a_collapsed_level_is_seen_repaired_and_said():
    repaired = RQVAE(levels=2, codebook_size=32, initialization="random", standardize=False, **SMALL).fit(textlike())
    assert any("placed anew" in note for note in repaired.report.notes)
    assert repaired.report.curve["perplexity-1"][-1] > 16


def test_the_report_is_kept(tmp_path):
    tokenizer = RQVAE(levels=1, codebook_size=8, **SMALL).fit(textlike(300))
    tokenizer.save(tmp_path)
    opened = RQVAE.open(tmp_path)
    assert opened.report.curve == tokenizer.report.curve
    assert opened.version == tokenizer.version


def test_codes_are_assigned_without_torch(tmp_path):
    vectors = textlike(200)
    tokenizer = RQVAE(levels=2, codebook_size=8, **SMALL).fit(vectors)
    (tmp_path / "tokenizer").mkdir()
    tokenizer.save(tmp_path / "tokenizer")
    np.save(tmp_path / "given.npy", vectors.values)
    program = (
        "import sys, numpy as np; from pathlib import Path; from itemspace.identify.rq_vae import RQVAE;"
        "from itemspace.core.vectors import Dense; at = Path(sys.argv[1]); t = RQVAE.open(at / 'tokenizer');"
        "print(t.assign(Dense(np.load(at / 'given.npy'), t._space)).fingerprint, 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert out.stdout.split() == [tokenizer.assign(vectors).fingerprint, "False"]


def test_the_network_and_the_assignment_agree():
    """What training minimizes is what assigning does: parity of latents, symbols and reconstruction."""
    from itemspace.identify.rq_vae_training import Network, arrays_of

    vectors = textlike(100)
    tokenizer = RQVAE(levels=2, codebook_size=8, **SMALL).fit(vectors)
    network = Network(48, tokenizer.config, vectors.values.mean(0), vectors.values.std(0) + 1e-6)
    tokenizer._arrays = arrays_of(network)
    with torch.no_grad():
        latents = network.encode(torch.from_numpy(vectors.values))
        quantized, symbols, _ = network.quantize(latents)
        rebuilt = network.decode(quantized) * network.scale + network.mean
    np.testing.assert_allclose(tokenizer.latents(vectors.values), latents.numpy(), atol=1e-5)
    np.testing.assert_array_equal(tokenizer.levels(vectors), symbols.numpy())
    np.testing.assert_allclose(tokenizer.decode(symbols.numpy()).values, rebuilt.numpy(), atol=1e-5)


def test_gradients_pass_straight_through():
    from itemspace.identify.rq_vae_training import Network

    config = RQVAE(levels=2, codebook_size=8, **SMALL).config
    network = Network(4, config, np.zeros(4, np.float32), np.ones(4, np.float32))
    latents = torch.randn(5, 8, requires_grad=True)
    quantized, symbols, loss = network.quantize(latents)
    quantized.sum().backward(retain_graph=True)
    np.testing.assert_allclose(latents.grad.numpy(), 1.0)
    books = [book.detach().numpy() for book in network.books]
    np.testing.assert_allclose(quantized.detach().numpy(), books[0][symbols[:, 0]] + books[1][symbols[:, 1]], atol=1e-6)
    first = latents.detach().numpy() - books[0][symbols[:, 0]]
    second = first - books[1][symbols[:, 1]]
    np.testing.assert_allclose(loss.item(), 1.25 * ((first**2).mean() + (second**2).mean()), rtol=1e-5)


def behaving(n=800, seed=0):
    """Items whose content says nothing of their behavior: behavior vectors of four groups that content does not show."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 4, n)
    hidden = 0.6 * rng.standard_normal((4, 16))[group] + rng.standard_normal((n, 16))
    content = np.concatenate([3 * rng.standard_normal((n, 4)) @ rng.standard_normal((4, 32)), hidden], axis=1)
    content = content.astype(np.float32)
    behavior = normalize(np.eye(4)[group] + 0.1 * rng.standard_normal((n, 4)))
    items = Dense(normalize(content), VectorSpace("content", 48, "cosine", True))
    return items, Dense(behavior, VectorSpace("behavior", 4, "cosine", True)), group


def purity(first, group):
    table = np.zeros((first.max() + 1, 4))
    np.add.at(table, (first, group), 1)
    return table.max(1).sum() / len(group)


def test_alignment_brings_behavior_into_the_codes():
    items, behavior, group = behaving()
    settings = {**SMALL, "epochs": 25}
    plain = RQVAE(levels=2, codebook_size=8, **settings).fit(items)
    aligned = RQVAE(levels=2, codebook_size=8, alignment=1.0, **settings).fit(items, behavior=behavior)
    before, after = (purity(t.levels(items)[:, 0], group) for t in (plain, aligned))
    assert after > before + 0.15


def test_alignment_without_behavior_is_refused():
    items, behavior, _ = behaving(50)
    with pytest.raises(ContractError, match="behavior"):
        RQVAE(alignment=0.1, **SMALL).fit(items)
    with pytest.raises(ContractError, match="behavior"):
        RQVAE(**SMALL).fit(items, behavior=behavior)


def test_diversity_pulls_a_cluster_together_and_knows_its_positive():
    from itemspace.identify.rq_vae_losses import clusters_of, diversity

    book = torch.tensor([[1.0, 0], [0.9, 0.1], [0, 1.0], [0.1, 0.9]], requires_grad=True)
    clusters = torch.tensor([0, 0, 1, 1])
    symbols = torch.tensor([0, 1, 2])
    scores = book.detach() @ book.detach().T
    expected = 0.0
    for s, partner in ((0, 1), (1, 0), (2, 3)):
        others = [j for j in range(4) if j != s]
        expected += float(torch.logsumexp(scores[s, others], 0) - scores[s, partner]) / 3
    assert diversity(book, symbols, clusters).item() == pytest.approx(expected, rel=1e-5)
    counts = np.bincount(clusters_of(np.random.default_rng(0).standard_normal((64, 4)), 4, np.random.default_rng(0)))
    assert gini(counts) < 0.35


def test_a_warm_start_keeps_most_codes():
    vectors = textlike(600)
    first = RQVAE(levels=2, codebook_size=16, **SMALL).fit(vectors)
    warm = RQVAE(levels=2, codebook_size=16, **{**SMALL, "epochs": 1}).fit(vectors, warm=first)
    cold = RQVAE(levels=2, codebook_size=16, **SMALL).fit(vectors, rng=1)
    kept = [(first.levels(vectors) == t.levels(vectors)).all(1).mean() for t in (warm, cold)]
    assert kept[0] > 0.5 > kept[1]


def test_nearest_says_where_rounding_decides():
    centers = np.array([[0.0, 0], [2, 0]], np.float32)
    label, unsure = nearest(np.array([[0.5, 0], [1.0, 0], [1.0 + 1e-7, 0]], np.float32), centers)
    assert unsure.tolist() == [False, True, True]
    assert label[0] == 0
