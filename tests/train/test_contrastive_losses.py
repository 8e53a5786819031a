"""Every contrastive loss against the formula written out in plain Python, and against PyTorch's where it has one."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from itemspace.train.losses.contrastive import InfoNCE, MarginMSE, MultiLabelMargin, Triplet  # noqa: E402


def drawn(queries: int = 6, candidates: int = 9, seed: int = 0):
    """Scores, shares of one to three right candidates, a mask that spares those, and a teacher's scores."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 1, (queries, candidates)).astype(np.float32)
    share = np.zeros_like(scores)
    for row in share:
        row[rng.choice(candidates, rng.integers(1, 4), replace=False)] = rng.random() + 0.1
    share /= share.sum(1, keepdims=True)
    counted = (rng.random(scores.shape) < 0.7) | (share > 0)
    return scores, share.astype(np.float32), counted, rng.normal(0, 1, scores.shape).astype(np.float32)


def of(loss, scores, share, counted=None, teacher=None) -> float:
    given = [None if one is None else torch.from_numpy(one) for one in (counted, teacher)]
    return float(loss(torch.from_numpy(scores), torch.from_numpy(share), *given))


def rows(scores, share, counted):
    """(scores of a row, right places, wrong places, counted places), one row at a time."""
    for i, row in enumerate(scores.tolist()):
        there = [j for j in range(len(row)) if counted is None or counted[i, j]]
        yield i, row, [j for j in there if share[i, j] > 0], [j for j in there if share[i, j] == 0], there


@pytest.mark.parametrize("masked", [False, True])
def test_infonce_is_the_formula_written_out(masked):
    scores, share, counted, _ = drawn()
    counted = counted if masked else None
    total = 0.0
    for i, row, right, _, there in rows(scores, share, counted):
        partition = math.log(sum(math.exp(row[j] / 0.3) for j in there))
        total -= sum(share[i, j] * (row[j] / 0.3 - partition) for j in right)
    assert of(InfoNCE(0.3), scores, share, counted) == pytest.approx(total / len(scores), rel=1e-5)


def test_infonce_of_one_right_answer_is_cross_entropy_and_both_ways_is_clips():
    scores, eye = drawn(5, 5)[0], np.eye(5, dtype=np.float32)
    ahead = torch.nn.functional.cross_entropy(torch.from_numpy(scores) / 0.1, torch.arange(5))
    back = torch.nn.functional.cross_entropy(torch.from_numpy(scores).T / 0.1, torch.arange(5))
    assert of(InfoNCE(0.1), scores, eye) == pytest.approx(float(ahead), rel=1e-5)
    assert of(InfoNCE(0.1, two_way=True), scores, eye) == pytest.approx(float(ahead + back) / 2, rel=1e-5)
    # A mined negative is a column that is right for nobody: it asks nothing, and is only chosen among.
    wide = np.concatenate([scores, np.full((5, 1), -1e9, np.float32)], axis=1)
    right = np.concatenate([eye, np.zeros((5, 1), np.float32)], axis=1)
    assert of(InfoNCE(0.1, two_way=True), wide, right) == pytest.approx(float(ahead + back) / 2, rel=1e-5)


def test_infonce_neither_overflows_nor_counts_what_is_masked():
    scores = np.array([[1000.0, -1000.0, 3.0]], np.float32)
    share, counted = np.array([[0.0, 1.0, 0.0]], np.float32), np.array([[False, True, True]])
    assert of(InfoNCE(1.0), scores, share) == pytest.approx(2000)
    assert of(InfoNCE(1.0), scores, share, counted) == pytest.approx(1003)


@pytest.mark.parametrize("masked", [False, True])
def test_the_multi_label_margin_is_the_formula_written_out(masked):
    scores, share, counted, _ = drawn()
    counted = counted if masked else None
    total = 0.0
    for _, row, right, wrong, there in rows(scores, share, counted):
        total += sum(max(0.0, 1.0 - (row[p] - row[n])) for p in right for n in wrong) / len(there)
    assert of(MultiLabelMargin(), scores, share, counted) == pytest.approx(total / len(scores), rel=1e-5)


def test_the_multi_label_margin_is_pytorchs():
    scores, share, _, _ = drawn(7, 11, seed=3)
    target = np.full(scores.shape, -1)
    for i, row in enumerate(share):
        found = np.flatnonzero(row)
        target[i, : len(found)] = found
    wanted = torch.nn.MultiLabelMarginLoss()(torch.from_numpy(scores), torch.from_numpy(target))
    assert of(MultiLabelMargin(), scores, share) == pytest.approx(float(wanted), rel=1e-5)


def test_the_margin_losses_by_hand():
    scores = np.array([[2.0, 1.5, 0.0]], np.float32)
    share = np.array([[1.0, 0.0, 0.0]], np.float32)
    assert of(MultiLabelMargin(), scores, share) == pytest.approx((0.5 + 0.0) / 3)
    assert of(Triplet(1.0), scores, share) == pytest.approx((0.5 + 0.0) / 2)
    assert of(Triplet(1.0, negatives="hardest"), scores, share) == pytest.approx(0.5)
    assert of(MultiLabelMargin(0.4), scores, share) == 0.0


@pytest.mark.parametrize("kind", ["all", "hardest", "semi-hard"])
@pytest.mark.parametrize("masked", [False, True])
def test_triplets_are_the_formula_written_out(kind, masked):
    scores, share, counted, _ = drawn(seed=4)
    counted = counted if masked else None
    found = []
    for _, row, right, wrong, _ in rows(scores, share, counted):
        for p in right:
            below = [n for n in wrong if row[n] < row[p]]
            hardest = max(wrong, key=lambda n: row[n])
            semi = max(below, key=lambda n: row[n]) if below else hardest
            for n in {"all": wrong, "hardest": [hardest], "semi-hard": [semi]}[kind]:
                found.append(max(0.0, 0.5 - (row[p] - row[n])))
    assert of(Triplet(0.5, negatives=kind), scores, share, counted) == pytest.approx(np.mean(found), rel=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_margin_mse_is_the_formula_written_out_and_nothing_is_left_to_learn_from_oneself(masked):
    scores, share, counted, teacher = drawn(seed=5)
    counted = counted if masked else None
    found = []
    for i, row, right, wrong, _ in rows(scores, share, counted):
        for p in right:
            found += [((row[p] - row[n]) - (teacher[i, p] - teacher[i, n])) ** 2 for n in wrong]
    assert of(MarginMSE(), scores, share, counted, teacher) == pytest.approx(np.mean(found), rel=1e-4)
    shifted = scores + np.arange(len(scores), dtype=np.float32)[:, None]
    assert of(MarginMSE(), scores, share, counted, shifted) == pytest.approx(0.0, abs=1e-10)
    with pytest.raises(ValueError, match="teacher"):
        of(MarginMSE(), scores, share)


def test_what_is_not_counted_has_no_gradient():
    scores, share, counted, teacher = drawn(seed=6)
    for loss in (InfoNCE(0.5), InfoNCE(0.5, two_way=True), MultiLabelMargin(), Triplet(0.5), MarginMSE()):
        given = torch.from_numpy(scores).requires_grad_()
        loss(given, torch.from_numpy(share), torch.from_numpy(counted), torch.from_numpy(teacher)).backward()
        assert torch.isfinite(given.grad).all()
        assert (given.grad[~torch.from_numpy(counted)] == 0).all()
        assert (given.grad != 0).any()
