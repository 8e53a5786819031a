"""Leave-one-out: the last event of every user."""

from __future__ import annotations

from typing import Literal

import numpy as np

from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.core.interactions import Interactions
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.data.splits.base import Held, Split, events_of, finish, without_impressions


def leave_one_out(
    dataset: Dataset,
    *,
    ties: Literal["file", "shuffle"] = "file",
    min_events: int = 3,
    exclude_history: bool = True,
    rng: RNG = 0,
) -> Split:
    """Test on each user's last event, validate on the one before, train on the rest.

    Guarantees: no held-out event is in training; every history is exactly what its user did before the target, in
    order. **The test history includes the validation event** (training does not). Users with fewer than `min_events`
    events only train. The events are in time order, or in file order where there are no times (`manifest["order"]`).

    It does not respect time across users: another user's training events may be later than this user's target. Use
    `global_temporal` for that.

    ties: events of one user at the same second keep the order of the file ("file"), or are shuffled by the seed
    ("shuffle"): published files are often in item order within a day. The manifest counts `tied_events` (events that
    share user and second with another) and `tied_users` (users whose test and validation events share a second).
    exclude_history: histories are not to be recommended again; a target the user already had is then not asked for.

    Raises:
        DataError: there are no events, or `ties="shuffle"` without times.
    """
    if min_events < 3:
        raise DataError(f"min_events must be at least 3 (one event each to train, validate and test), not {min_events}")
    events, seed = events_of(dataset), as_seed(rng)
    if ties == "shuffle":
        if events.time is None:
            raise DataError("ties cannot be shuffled: the events have no times", hint='Use ties="file".')
        events = shuffled_ties(events, seed)
    lengths = np.bincount(events.user, minlength=len(events.users))
    from_end = lengths[events.user] - 1 - events.position
    asked = lengths[events.user] >= min_events
    test, valid = asked & (from_end == 0), asked & (from_end == 1)
    train = ~(test | valid)
    # The impressions are filtered against the same held-out events, in the dataset's own (possibly other) tie order.
    shown = without_impressions(dataset.with_interactions(events), ~train)
    return finish(
        dataset,
        "leave_one_out",
        {"ties": ties, "min_events": min_events},
        seed,
        events=events,
        train=train,
        held=(Held(asked & (from_end > 1), valid), Held(asked & (from_end > 0), test)),
        impressions=shown,
        exclude_history=exclude_history,
        counts={**count_ties(events, test), "train_only_users": int(((lengths > 0) & (lengths < min_events)).sum())},
    )


def shuffled_ties(events: Interactions, seed: int) -> Interactions:
    """The same events by (user, time), those of one user and second in seeded random order."""
    assert events.time is not None
    key = derive(seed, "ties").random(len(events))
    return events.take(np.lexsort((key, events.time, events.user)))


def count_ties(events: Interactions, last: np.ndarray) -> dict[str, int]:
    """`tied_events` and `tied_users` as `leave_one_out` counts them; `last` masks each asked user's last event [n]."""
    if events.time is None:
        return {"tied_events": 0, "tied_users": 0}
    same = (events.user[1:] == events.user[:-1]) & (events.time[1:] == events.time[:-1])
    with_previous = np.concatenate(([False], same))
    tied = with_previous | np.concatenate((same, [False]))
    return {"tied_events": int(tied.sum()), "tied_users": int((with_previous & last).sum())}
