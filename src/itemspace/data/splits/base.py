"""What every split hands back, and how a task is made of held-out events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.core.interactions import Impressions, Interactions
from itemspace.core.judgments import Judgments
from itemspace.core.ragged import Ragged
from itemspace.core.requests import History, Requests
from itemspace.core.selection import Selection
from itemspace.core.task import Task

MANIFEST_VERSION = 1

POPULARITY_LABELS = np.array(["cold", "tail", "mid", "head"])


@dataclass(frozen=True)
class Split:
    """Training data and two tasks, over the same rows as the dataset they came from.

    train: the dataset with the training events only (and impressions that give nothing away); catalogue, queries and
    judgments as they were. manifest: JSON-able; with the same dataset, `from_manifest` gives this split again.
    """

    train: Dataset
    valid: Task
    test: Task
    manifest: Mapping[str, Any]


@dataclass(frozen=True)
class Held:
    """Events set aside for one task: masks over the same events [n].

    history: what the requests may know. target: what they must find. as_of: one moment for all requests (Unix seconds),
    or None for each request's first target. timeless: histories may be later than targets, so no moment is stated.
    """

    history: np.ndarray
    target: np.ndarray
    candidates: Selection | None = None
    as_of: int | None = None
    timeless: bool = False


def events_of(dataset: Dataset) -> Interactions:
    """The dataset's events.

    Raises:
        DataError: it has none.
    """
    if dataset.interactions is None or len(dataset.interactions) == 0:
        raise DataError(f"{dataset.name} has no interactions to split", hint="Give an interactions file.")
    return dataset.interactions


def times_of(events: Interactions, split: str) -> np.ndarray:
    """The events' times [n].

    Raises:
        DataError: they have none; names the split that asked.
    """
    if events.time is None:
        raise DataError(
            f"{split} needs the time of every event; these have only an order",
            column="time",
            hint="Use leave_one_out, which accepts the order of the file.",
        )
    return events.time


def check_shares(**shares: float) -> None:
    """Refuse shares outside (0, 1), or that leave nothing to train on.

    Raises:
        DataError: names the parameter and its value.
    """
    for name, value in shares.items():
        if not 0 < value < 1:
            raise DataError(f"{name} must lie between 0 and 1, not {value:g}")
    if sum(shares.values()) >= 1:
        raise DataError(f"{' and '.join(shares)} together leave nothing to train on")


def make_task(name: str, events: Interactions, held: Held, counts: np.ndarray, *, exclude_history: bool) -> Task:
    """One request per user who has both a history and a target left.

    counts: training events per item [items], for the groups. Where `exclude_history`, a target that is already in the
    history is not asked for (it could not be answered). Grades are 1.

    Groups: `target`, the popularity of the first target (head, mid and tail each hold a third of the training events;
    cold has none). Reports derive more, such as the history length.
    """
    n_users = len(events.users)
    target = held.target.copy()
    if exclude_history:
        keys = events.user.astype(np.int64) * len(events.items) + events.item
        target &= ~np.isin(keys, keys[held.history])
    if held.candidates is not None:
        target &= held.candidates.mask[events.item]
    lengths = np.bincount(events.user[held.history], minlength=n_users)
    target &= lengths[events.user] > 0
    asked = np.unique(events.user[target])
    request = np.full(n_users, -1, np.int64)
    request[asked] = np.arange(len(asked))
    judgments = Judgments.from_pairs(request[events.user[target]], events.item[target], None, len(asked))

    at = np.flatnonzero(target)
    first = at[np.unique(events.user[at], return_index=True)[1]]  # events are sorted by user and order
    as_of: np.ndarray | None = None
    if held.as_of is not None:
        as_of = np.full(len(asked), held.as_of, np.int64)
    elif events.time is not None and not held.timeless:
        as_of = events.time[first].astype(np.int64)
    requests = Requests(history=_history(events, held.history, asked), user=asked.astype(np.int32), as_of=as_of)
    groups = target_groups(counts, events.item[first])
    return Task(name, requests, judgments, held.candidates, groups, exclude_history)


def _history(events: Interactions, mask: np.ndarray, users: np.ndarray) -> History:
    def column(values: np.ndarray | None) -> Ragged | None:
        if values is None:
            return None
        return Ragged.from_groups(events.user[mask], values[mask], len(events.users)).take(users)

    items = column(events.item)
    assert items is not None
    return History(items, column(events.time), column(events.event), events.events)


def popularity_classes(counts: np.ndarray) -> np.ndarray:
    """Per item [n]: 3 head, 2 mid, 1 tail, 0 never trained on.

    Items in order of training events; head, mid and tail each hold about a third of the events. Items with equal counts
    are always in the same class.
    """
    ordered = np.sort(counts)[::-1].astype(np.int64)
    total = int(ordered.sum())
    if total == 0:
        return np.zeros(len(counts), np.int64)
    mass = np.cumsum(ordered)
    bounds = [int(ordered[np.searchsorted(mass, total * part / 3)]) for part in (1, 2)]
    return (counts > 0).astype(np.int64) + (counts >= bounds[1]) * (counts > 0) + (counts >= bounds[0]) * (counts > 0)


def target_groups(counts: np.ndarray, items: np.ndarray) -> dict[str, np.ndarray]:
    """The `target` label of target items [q]: head, mid, tail, or cold where never trained on, by training counts [n]."""
    return {"target": POPULARITY_LABELS[popularity_classes(counts)[items]]}


def without_impressions(dataset: Dataset, held: np.ndarray, *, in_order: bool = True) -> Impressions | None:
    """The impressions that say nothing about the held-out events (mask over the dataset's events [n]).

    An impression is dropped when its user has a held-out event of the same item, or (`in_order`, where both have times)
    when it is not earlier than its user's first held-out event. Impressions without a user are kept.
    """
    shown, events = dataset.impressions, dataset.interactions
    if shown is None or events is None or shown.user is None or shown.users is None:
        return shown
    # The two logs may number users differently; -1 (nobody, or a user without events) has nothing held out.
    user = np.append(events.users.find(shown.users.values), np.int32(-1))[shown.user]
    n_items = len(events.items)
    pairs = events.user[held].astype(np.int64) * n_items + events.item[held]
    drop = np.isin(user.astype(np.int64) * n_items + shown.item, pairs)
    if in_order and shown.time is not None and events.time is not None:
        first = np.full(len(events.users) + 1, np.iinfo(np.int64).max)
        np.minimum.at(first, events.user[held], events.time[held])
        drop |= shown.time >= first[user]
    return take_impressions(shown, ~drop | (user < 0))


def take_impressions(shown: Impressions, keep: np.ndarray) -> Impressions:
    """The impressions where `keep` [n] is true."""
    return shown.take(keep)


def finish(
    dataset: Dataset,
    kind: str,
    params: Mapping[str, Any],
    seed: int,
    *,
    events: Interactions,
    train: np.ndarray,
    held: tuple[Held, Held],
    impressions: Impressions | None,
    exclude_history: bool,
    counts: Mapping[str, int] | None = None,
) -> Split:
    """Put a split together. events: the dataset's, possibly reordered within ties; train: mask over them [n].

    Raises:
        DataError: no event is left to train on.
    """
    if not train.any():
        raise DataError(f"{kind} leaves no event of {dataset.name} to train on")
    kept = events.take(train)
    per_item = kept.counts()
    valid, test = (
        make_task(f"{kind}/{part}", events, one, per_item, exclude_history=exclude_history)
        for part, one in zip(("valid", "test"), held, strict=True)
    )
    tally = {"users": len(events.users), "items": len(events.items), "events": len(events), "train_events": len(kept)}
    for part, one, task in (("valid", held[0], valid), ("test", held[1], test)):
        tally[f"{part}_events"] = int(one.target.sum())
        tally[f"{part}_requests"] = len(task)
        tally[f"{part}_targets"] = len(task.judgments.items.values)
        tally[f"{part}_cold"] = int((per_item[task.judgments.items.values] == 0).sum())
    manifest = {
        "version": MANIFEST_VERSION,
        "kind": kind,
        "params": {**params, "exclude_history": exclude_history},
        "seed": seed,
        "data": dataset.fingerprint,
        "order": dataset.order,
        "counts": {**tally, **(counts or {})},
        "parts": {"train": kept.fingerprint, "valid": valid.fingerprint, "test": test.fingerprint},
    }
    return Split(replace(dataset, interactions=kept, impressions=impressions), valid, test, manifest)
