"""Packing loses nothing, mixes nothing and pads next to nothing."""

from __future__ import annotations

import numpy as np
import pytest

from itemspace.core.ragged import Ragged
from itemspace.train.packing import pack, windows


def histories(n: int, seed: int = 0, longest: int = 50) -> Ragged:
    """Lengths as in a shop: most short, a few at the limit."""
    rng = np.random.default_rng(seed)
    lengths = np.minimum(rng.geometric(0.18, n) + 1, longest)
    return Ragged.from_lists([rng.integers(0, 1000, length) for length in lengths])


@pytest.mark.parametrize("n", [1, 2, 37, 256])
def test_every_history_is_whole_and_alone_in_its_segment(n):
    ragged = histories(n)
    packed = pack(ragged, 64)
    assert len(np.unique(packed.at)) == len(ragged.values)
    flat = packed.items.reshape(-1)
    np.testing.assert_array_equal(flat[packed.at], ragged.values)
    np.testing.assert_array_equal(packed.segment.reshape(-1)[packed.at], ragged.groups + 1)
    assert (packed.segment > 0).sum() == len(ragged.values)
    width = packed.items.shape[1]
    for history in range(n):
        at = packed.at[ragged.offsets[history] : ragged.offsets[history + 1]]
        assert (np.diff(at) == 1).all()
        assert at[0] // width == at[-1] // width
        np.testing.assert_array_equal(packed.position.reshape(-1)[at], np.arange(len(at)))


def test_padding_is_under_five_percent():
    shares = [pack(histories(256, seed), 64).padding for seed in range(20)]
    assert np.mean(shares) < 0.05


def test_empty_histories_take_no_room_and_long_ones_are_refused():
    packed = pack(Ragged.from_lists([[], [3, 4], []]), 64)
    assert packed.items.tolist() == [[3, 4]]
    assert pack(Ragged.from_lists([[], []]), 8).items.size == 0
    with pytest.raises(ValueError, match="does not fit"):
        pack(Ragged.from_lists([np.arange(9)]), 8)


def test_positions_may_be_counted_from_the_newest_event():
    ragged = histories(40)
    packed, mirrored = pack(ragged, 64), pack(ragged, 64, from_end=True)
    np.testing.assert_array_equal(packed.items, mirrored.items)
    both = packed.position.reshape(-1)[packed.at] + mirrored.position.reshape(-1)[mirrored.at]
    np.testing.assert_array_equal(both, np.repeat(ragged.lengths, ragged.lengths) - 1)


def test_windows_make_every_event_but_the_first_a_target_once():
    ragged = histories(200, longest=50)
    for targets in (1, 3, 7, 49, 100):
        pieces, owner = windows(ragged, targets)
        assert pieces.lengths.min() >= 2
        assert pieces.lengths.max() <= targets + 1
        for history in range(len(ragged)):
            mine = [pieces[i].tolist() for i in np.flatnonzero(owner == history)]
            assert [item for piece in mine for item in piece[1:]] == ragged[history].tolist()[1:]
            assert all(before[-1] == after[0] for before, after in zip(mine, mine[1:], strict=False))
            assert all(len(piece) == targets + 1 for piece in mine[1:])
    pieces, owner = windows(Ragged.from_lists([[5], [], [1, 2]]), 4)
    assert pieces.to_lists() == [[1, 2]]
    assert owner.tolist() == [2]
