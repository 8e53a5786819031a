"""Pieces of codes: n-grams by hand, the learned vocabulary against every way to cut."""

import itertools

import numpy as np
import pytest

from itemspace.core.codes import Codes
from itemspace.core.errors import ContractError
from itemspace.identify.pieces import CodePieces, n_grams, prefix_grams


def codes(matrix, size=8):
    matrix = np.array(matrix, np.int32)
    return Codes.from_matrix(matrix, (size,) * matrix.shape[1])


def test_grams_by_hand():
    given = codes([[0, 1, 2], [0, 1, 3], [5, 1, 2]])
    pieces, count = prefix_grams(given)
    rows = pieces.to_lists()
    assert count == 2 + 2 + 3
    assert rows[0][:2] == rows[1][:2]
    assert rows[0][2] != rows[1][2]
    pairs, count = n_grams(given, 2)
    rows = pairs.to_lists()
    assert count == 2 + 2
    assert rows[0][0] == rows[1][0] != rows[2][0]
    assert rows[0][1] == rows[2][1] != rows[1][1]
    with pytest.raises(ContractError, match="levels"):
        n_grams(given, 4)


def skewed(seed=0, n=200):
    rng = np.random.default_rng(seed)
    matrix = rng.integers(0, 5, (n, 3))
    weight = 1.0 / np.arange(1, n + 1) ** 1.2
    return codes(matrix), weight


def test_frequent_codes_are_one_piece_and_rare_ones_several():
    given, weight = skewed()
    pieces = CodePieces.learn(given, weight, size=60)
    assert len(pieces) == 60
    lengths = pieces.cut(given).lengths
    assert lengths[:5].mean() < lengths[-50:].mean() - 0.3
    assert lengths[0] == 1


def ways(code):
    for cuts in itertools.product([0, 1], repeat=len(code) - 1):
        at = [0, *[i + 1 for i, c in enumerate(cuts) if c], len(code)]
        yield [(a, tuple(code[a:b])) for a, b in itertools.pairwise(at)]


def test_a_cut_is_the_likeliest_of_all_ways():
    given, weight = skewed()
    pieces = CodePieces.learn(given, weight, size=40)
    known = {
        (int(s), tuple(row[: int(n)].tolist())): (i, float(p))
        for i, (s, n, row, p) in enumerate(
            zip(pieces.starts, pieces.lengths, pieces.symbols, pieces.log_probability, strict=True)
        )
    }
    for row, found in enumerate(pieces.cut(given).to_lists()):
        possible = [way for way in ways(given[row]) if all(piece in known for piece in way)]
        best = max(sum(known[piece][1] for piece in way) for way in possible)
        assert sum(float(pieces.log_probability[i]) for i in found) == pytest.approx(best)


def test_more_pieces_are_never_less_likely():
    given, weight = skewed()
    likely = []
    for size in (16, 30, 60, 120):
        pieces = CodePieces.learn(given, weight, size=size)
        cut = pieces.cut(given)
        total = np.bincount(cut.groups, pieces.log_probability[cut.values], minlength=len(given))
        likely.append(float((weight * total).sum()))
    assert likely == sorted(likely)


def test_unseen_symbols_are_the_unknown_piece():
    given, weight = skewed()
    pieces = CodePieces.learn(given, weight, size=30)
    found = pieces.cut(codes([[7, 7, 7]])).to_lists()[0]
    assert found == [pieces.unknown] * 3
