"""Cold items, cold users, and events at random: what is withheld is drawn by the seed."""

from __future__ import annotations

from typing import Literal

import numpy as np

from itemspace.core.dataset import Dataset
from itemspace.core.interactions import Interactions
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.core.selection import Selection
from itemspace.data.splits.base import (
    Held,
    Split,
    check_shares,
    events_of,
    finish,
    take_impressions,
    without_impressions,
)


def cold_items(
    dataset: Dataset,
    *,
    valid_share: float = 0.1,
    test_share: float = 0.1,
    candidates: Literal["all", "cold"] = "all",
    exclude_history: bool = True,
    rng: RNG = 0,
) -> Split:
    """Withhold a share of the items from training altogether, and test only on them.

    Guarantees: no event and no impression of a withheld item is in training; validation and test items are disjoint;
    every target is withheld, every item of a history is trained on, and a history holds only what its user did before
    the target. Each user asks once per part: for the last withheld item with something before it.

    The shares are of the items that have events, drawn by the seed. candidates: "all" ranks the whole catalogue, as a
    live system would (the other part's withheld items included); "cold" ranks the part's withheld items only. The
    catalogue's texts stay whole: that is what a cold item is found by.

    Raises:
        DataError: there are no events, or the shares are out of range.
    """
    check_shares(valid_share=valid_share, test_share=test_share)
    events, seed = events_of(dataset), as_seed(rng)
    part = _drawn(events.counts() > 0, valid_share, test_share, seed, "cold_items")
    of_event = part[events.item]
    train = of_event == 0
    held = []
    for number in (1, 2):
        target = _last_with_history(events, of_event == number, train)
        allowed = Selection.of_mask(part == number) if candidates == "cold" else None
        held.append(Held(train & _before_target(events, target), target, allowed))
    shown = dataset.impressions
    return finish(
        dataset,
        "cold_items",
        {"valid_share": valid_share, "test_share": test_share, "candidates": candidates},
        seed,
        events=events,
        train=train,
        held=(held[0], held[1]),
        impressions=None if shown is None else take_impressions(shown, part[shown.item] == 0),
        exclude_history=exclude_history,
        counts={"valid_items": int((part == 1).sum()), "test_items": int((part == 2).sum())},
    )


def cold_users(
    dataset: Dataset,
    *,
    valid_share: float = 0.1,
    test_share: float = 0.1,
    exclude_history: bool = True,
    rng: RNG = 0,
) -> Split:
    """Withhold a share of the users from training altogether; ask for each one's last event, given the ones before.

    Guarantees: no event and no impression of a withheld user is in training; validation and test users are disjoint;
    every history is exactly what its user did before the target. Withheld users with one event are not asked.

    The shares are of the users that have events, drawn by the seed. Time across users is not respected.

    Raises:
        DataError: there are no events, or the shares are out of range.
    """
    check_shares(valid_share=valid_share, test_share=test_share)
    events, seed = events_of(dataset), as_seed(rng)
    lengths = np.bincount(events.user, minlength=len(events.users))
    part = _drawn(lengths > 0, valid_share, test_share, seed, "cold_users")
    of_event = part[events.user]
    last = events.position == lengths[events.user] - 1
    held = [Held((of_event == number) & ~last, (of_event == number) & last) for number in (1, 2)]
    shown = dataset.impressions
    if shown is not None and shown.user is not None and shown.users is not None:
        parts = np.append(part, 0)[np.append(events.users.find(shown.users.values), -1)[shown.user]]
        shown = take_impressions(shown, parts == 0)
    return finish(
        dataset,
        "cold_users",
        {"valid_share": valid_share, "test_share": test_share},
        seed,
        events=events,
        train=of_event == 0,
        held=(held[0], held[1]),
        impressions=shown,
        exclude_history=exclude_history,
        counts={"valid_users": int((part == 1).sum()), "test_users": int((part == 2).sum())},
    )


def random(
    dataset: Dataset,
    *,
    valid_share: float = 0.1,
    test_share: float = 0.1,
    exclude_history: bool = True,
    rng: RNG = 0,
) -> Split:
    """Every event goes to training, validation or test by a draw of its own.

    Guarantees: the three parts are disjoint and together are all events; a user's history is that user's training
    events (plus, for the test, the validation events). It says nothing about time: histories hold events from after the
    target. Use it to compare with publications that did; never to say how a system would do tomorrow.

    Raises:
        DataError: there are no events, or the shares are out of range.
    """
    check_shares(valid_share=valid_share, test_share=test_share)
    events, seed = events_of(dataset), as_seed(rng)
    part = _drawn(np.ones(len(events), bool), valid_share, test_share, seed, "random")
    return finish(
        dataset,
        "random",
        {"valid_share": valid_share, "test_share": test_share},
        seed,
        events=events,
        train=part == 0,
        held=(Held(part == 0, part == 1, timeless=True), Held(part != 2, part == 2, timeless=True)),
        impressions=without_impressions(dataset, part != 0, in_order=False),
        exclude_history=exclude_history,
    )


def _drawn(eligible: np.ndarray, valid_share: float, test_share: float, seed: int, use: str) -> np.ndarray:
    """0 (train), 1 (valid) or 2 (test) for each of n [n]; rounded shares of the eligible ones, the rest 0."""
    among = derive(seed, "split", use).permutation(np.flatnonzero(eligible))
    n_test, n_valid = round(len(among) * test_share), round(len(among) * valid_share)
    part = np.zeros(len(eligible), np.int8)
    part[among[:n_test]] = 2
    part[among[n_test : n_test + n_valid]] = 1
    return part


def _last_with_history(events: Interactions, wanted: np.ndarray, history: np.ndarray) -> np.ndarray:
    """Each user's last `wanted` event that has a `history` event of the user before it; masks [n]."""
    running = np.cumsum(history)
    starts = np.concatenate(([0], np.cumsum(np.bincount(events.user, minlength=len(events.users)))))[:-1]
    before_user = np.concatenate(([0], running))[starts]
    at = np.flatnonzero(wanted & (running - history - before_user[events.user] > 0))
    last = np.zeros(len(events), bool)
    # The last of each user: the first when read from the end.
    last[at[len(at) - 1 - np.unique(events.user[at][::-1], return_index=True)[1]]] = True
    return last


def _before_target(events: Interactions, target: np.ndarray) -> np.ndarray:
    """Events before their user's single target event [n]; false for users without one."""
    place = np.full(len(events.users), -1, np.int64)
    at = np.flatnonzero(target)
    place[events.user[at]] = at
    return np.arange(len(events)) < place[events.user]
