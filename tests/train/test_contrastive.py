"""The contrastive trainer on towers small enough to see through, and the mining of negatives."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

torch = pytest.importorskip("torch")

from itemspace.core.contracts import Budget  # noqa: E402
from itemspace.core.ragged import Ragged  # noqa: E402
from itemspace.train.contrastive import (  # noqa: E402
    ContrastiveBatches,
    ContrastiveConfig,
    Supervision,
    batch_loss,
    in_chunks,
    train_contrastive,
)
from itemspace.train.losses.contrastive import InfoNCE, MarginMSE, MultiLabelMargin  # noqa: E402
from itemspace.train.mining import mine_negatives  # noqa: E402


class Tables(torch.nn.Module):
    """Two tables of vectors, of length 1 when read."""

    def __init__(self, queries: int, items: int, size: int = 8) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(1)
        self.asked = torch.nn.Parameter(torch.randn(queries, size, generator=draw))
        self.held = torch.nn.Parameter(torch.randn(items, size, generator=draw))

    def queries(self, rows: np.ndarray) -> torch.Tensor:
        return torch.nn.functional.normalize(self.asked[torch.from_numpy(rows)], dim=1)

    def items(self, rows: np.ndarray) -> torch.Tensor:
        return torch.nn.functional.normalize(self.held[torch.from_numpy(rows)], dim=1)


def pairs(n: int = 40, items: int = 20) -> sp.csr_matrix:
    """Query i wants items i and i + 1 (modulo), the first twice as much."""
    at = np.arange(n)
    grades = np.concatenate([np.full(n, 2.0), np.ones(n)])
    return sp.csr_matrix((grades, (np.tile(at, 2), np.concatenate([at % items, (at + 1) % items]))), (n, items))


@pytest.mark.parametrize("loss", [InfoNCE(0.1), InfoNCE(0.1, two_way=True), MultiLabelMargin(0.3)])
def test_it_learns_what_it_is_told_and_the_same_again(loss):
    chosen = pairs()

    def trained(seed: int) -> tuple[Tables, list[float]]:
        tables = Tables(40, 20)
        config = ContrastiveConfig(epochs=60, batch_size=8, learning_rate=0.03)
        report = train_contrastive(tables, tables.queries, tables.items, Supervision(chosen), loss, config, seed=seed)
        assert report.epochs == 60
        return tables, list(report.curve["loss"])

    tables, curve = trained(0)
    assert curve[-1] < 0.5 * curve[0]
    with torch.no_grad():
        scores = tables.queries(np.arange(40)) @ tables.items(np.arange(20)).T
    best = np.argsort(-scores.numpy(), axis=1)[:, :2]
    hits = np.take_along_axis(chosen.toarray() > 0, best, 1)
    assert hits.mean() > 0.95
    assert trained(0)[1] == curve
    assert trained(1)[1] != curve


def test_a_batch_counts_every_right_item_in_it_as_right_and_spares_what_is_neither():
    chosen, n = pairs(), 20
    ignore = sp.csr_matrix((np.ones(40), (np.arange(40), (np.arange(40) + 2) % n)), (40, n))
    hard = Ragged.from_lists([[(i + 2) % n, (i + 5) % n] for i in range(40)], np.int64)
    made = ContrastiveBatches(Supervision(chosen, ignore), np.arange(0, 40, 2), hard, 8, 1)
    seen = []
    for batch in made(np.random.default_rng(0)):
        seen += batch.queries.tolist()
        assert np.array_equal(batch.items, np.unique(batch.items))
        right = chosen[batch.queries][:, batch.items].toarray()
        np.testing.assert_allclose(batch.share, right / right.sum(1, keepdims=True), rtol=1e-6)
        assert np.array_equal(batch.counted, ignore[batch.queries][:, batch.items].toarray() == 0)
        assert set(np.concatenate([(batch.queries + 2) % n, (batch.queries + 5) % n])) <= set(batch.items)
    assert sorted(seen) == list(range(0, 40, 2))


def test_positives_are_drawn_by_their_grade():
    chosen = sp.csr_matrix(np.array([[3.0, 1.0, 0.0]]))
    made = ContrastiveBatches(Supervision(chosen), np.array([0]), Ragged.empty(1, np.int64), 2, 1)
    rng = np.random.default_rng(0)
    drawn = [made._drawn(np.array([0]), rng)[0] for _ in range(4000)]
    assert np.mean(np.array(drawn) == 0) == pytest.approx(0.75, abs=0.03)


def test_a_large_batch_in_chunks_has_the_gradient_of_the_whole():
    chosen = Supervision(pairs())
    batches = ContrastiveBatches(chosen, np.arange(40), Ragged.empty(40, np.int64), 40, 2)
    batch = next(iter(batches(np.random.default_rng(0))))

    def gradients(chunk: int | None) -> tuple[float, list[torch.Tensor]]:
        tables = Tables(40, 20)
        value = batch_loss(tables.queries, tables.items, batch, InfoNCE(0.1), chosen, chunk)
        value.backward()
        return float(value.detach()), [tables.asked.grad, tables.held.grad]

    whole, parts = gradients(None), gradients(7)
    assert parts[0] == pytest.approx(whole[0], rel=1e-6)
    for one, other in zip(whole[1], parts[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_in_chunks_what_was_dropped_going_forward_is_dropped_coming_back():
    table, drop = torch.ones(40, 8, requires_grad=True), torch.nn.Dropout(0.5)
    made = in_chunks(lambda rows: drop(table[torch.from_numpy(rows)]), np.arange(40), 7)
    made.sum().backward()
    assert 0.3 < float((made == 0).float().mean()) < 0.7
    torch.testing.assert_close(table.grad, made.detach())


def test_a_teacher_is_asked_about_the_pairs_of_each_batch():
    truth = np.random.default_rng(2).normal(0, 0.3, (40, 20)).astype(np.float32)
    told = Supervision(pairs(), teacher=lambda queries, items: truth[np.ix_(queries, items)])
    tables = Tables(40, 20, size=24)
    config = ContrastiveConfig(epochs=80, batch_size=20, learning_rate=0.03)
    curve = train_contrastive(tables, tables.queries, tables.items, told, MarginMSE(), config).curve["loss"]
    assert curve[-1] < 0.1 * curve[0]
    with pytest.raises(ValueError, match="teacher"):
        train_contrastive(tables, tables.queries, tables.items, Supervision(pairs()), MarginMSE(), config)


def test_rounds_mine_with_the_model_as_it_stands_and_keep_given_negatives():
    tables, asked = Tables(40, 20), []
    given = Ragged.from_lists([[5]] * 40, np.int64)

    def mine() -> Ragged:
        asked.append(tables.training)
        return Ragged.from_lists([[7, 8]] * 40, np.int64)

    config = ContrastiveConfig(epochs=2, rounds=3, hard_negatives=2, batch_size=16)
    supervision = Supervision(pairs(), negatives=given)
    report = train_contrastive(
        tables, tables.queries, tables.items, supervision, InfoNCE(), config, budget=Budget(epochs=1), mine=mine
    )
    assert asked == [False, False]
    assert report.epochs == 3
    assert report.notes[0] == "round 2: 80 hard negatives for 40 queries"
    with pytest.raises(ValueError, match="mine"):
        train_contrastive(tables, tables.queries, tables.items, supervision, InfoNCE(), config)


def test_mined_negatives_are_near_wrong_and_not_probably_right():
    asked = np.ones((3, 1), np.float32)
    answers = np.array([[1.0], [0.98], [0.9], [0.5], [0.1]], np.float32)
    chosen = sp.csr_matrix(np.array([[1, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]], np.float32))
    # 0.98 is above 95% of the right item's 1.0; for the second query 0.98 and 0.9 are above 95% of 0.5.
    assert mine_negatives(asked, answers, chosen, 2).to_lists() == [[2, 3], [4], []]
    assert mine_negatives(asked, answers, chosen, 2, ceiling=None).to_lists() == [[1, 2], [0, 1], []]
    assert mine_negatives(asked, answers, chosen, 2, ceiling=None, depth=2).to_lists() == [[1], [0, 1], []]
    pool = np.array([True, True, False, True, True])
    assert mine_negatives(asked, answers, chosen, 2, pool=pool).to_lists() == [[3, 4], [4], []]
    ignore = sp.csr_matrix(np.array([[0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]], np.float32))
    assert mine_negatives(asked, answers, chosen, 2, ignore=ignore).to_lists() == [[3, 4], [4], []]
    # Below 0 the ceiling lies below the right item as well: -1 allows what is at most -1.05.
    assert mine_negatives(-asked, answers + 0.0, chosen, 5).to_lists() == [[], [2, 1, 0], []]


def test_mining_in_blocks_equals_one_query_at_a_time():
    rng = np.random.default_rng(0)
    asked, answers = rng.normal(size=(1500, 6)).astype(np.float32), rng.normal(size=(60, 6)).astype(np.float32)
    chosen = sp.random(1500, 60, 0.05, format="csr", random_state=0)
    found = mine_negatives(asked, answers, chosen, 3, depth=20)
    for i in (0, 7, 1023, 1024, 1499):
        scores, right = answers @ asked[i], chosen[i].toarray()[0] > 0
        limit = -np.inf if not right.any() else scores[right].max() - 0.05 * abs(scores[right].max())
        near = [j for j in np.argsort(-scores)[:20] if not right[j] and scores[j] <= limit]
        assert found[i].tolist() == near[:3]
