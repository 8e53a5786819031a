"""Global temporal: everything before a moment trains, everything after tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError, SchemaError
from itemspace.core.interactions import Impressions, Interactions
from itemspace.core.seeding import RNG, as_seed
from itemspace.core.selection import Selection
from itemspace.data.splits.base import Held, Split, check_shares, events_of, finish, take_impressions, times_of

Moment = int | str
"""Unix seconds, or a date or time in ISO 8601 (UTC where it names no zone)."""


def global_temporal(
    dataset: Dataset,
    *,
    valid_share: float = 0.1,
    test_share: float = 0.1,
    valid_from: Moment | None = None,
    test_from: Moment | None = None,
    released: str | None = None,
    targets: Literal["all", "next"] = "all",
    exclude_history: bool = True,
    rng: RNG = 0,
) -> Split:
    """Train on what happened before `valid_from`, validate up to `test_from`, test on what came after.

    Guarantees: no training event (and no training impression) is at or after `valid_from`; no history has an event at
    or after its part's cut, and `as_of` is the last second before that cut; candidates are only the items that existed
    then: seen in an event before the cut, or released before it where `released` names a time column. Targets that did
    not exist yet are not asked for. The test history includes the validation period (training does not).

    The cuts are the moments given, or the times that leave the last `test_share` (and before it `valid_share`) of the
    events; events of one second are never parted. Each user with a history gets one request; `targets` says whether
    everything the user did in the period is wanted, or only the next event. Impressions without times are dropped.
    The catalogue's texts stay whole: an encoder fitted on them sees the descriptions of items not yet released.
    Nothing here is random; `rng` is recorded only.

    Raises:
        DataError: the events have no times, the cuts are out of order, or nothing is left before the first.
        SchemaError: `released` is not a time column of the catalogue.
    """
    events = events_of(dataset)
    time = times_of(events, "global_temporal")
    first, second = _cuts(time, valid_share, test_share, valid_from, test_from)
    launched = None if released is None else _launch_times(dataset.catalog, released)
    parts = []
    for start, stop in ((first, second), (second, None)):
        target = time >= start if stop is None else (time >= start) & (time < stop)
        if targets == "next":
            target = _first_of_user(events, target)
        existing = Selection.of_mask(_existing(events, start, launched))
        parts.append(Held(time < start, target, existing, as_of=start - 1))
    params: dict[str, Any] = {
        "valid_share": valid_share,
        "test_share": test_share,
        "valid_from": valid_from,
        "test_from": test_from,
        "released": released,
        "targets": targets,
    }
    return finish(
        dataset,
        "global_temporal",
        params,
        as_seed(rng),
        events=events,
        train=time < first,
        held=(parts[0], parts[1]),
        impressions=_before(dataset.impressions, first),
        exclude_history=exclude_history,
        counts={
            "valid_from": first,
            "test_from": second,
            "valid_candidates": parts[0].candidates.count if parts[0].candidates else 0,
            "test_candidates": parts[1].candidates.count if parts[1].candidates else 0,
        },
    )


def moment(value: Moment) -> int:
    """Unix seconds of a moment.

    Raises:
        DataError: a string is not an ISO 8601 date or time.
    """
    if not isinstance(value, str):
        return int(value)
    try:
        when = datetime.fromisoformat(value)
    except ValueError:
        raise DataError(f'"{value}" is not a date', hint='Write it as "2024-05-31" or "2024-05-31T12:00:00".') from None
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())


def _cuts(
    time: np.ndarray, valid_share: float, test_share: float, valid_from: Moment | None, test_from: Moment | None
) -> tuple[int, int]:
    if (valid_from is None) != (test_from is None):
        raise DataError("give both valid_from and test_from, or neither")
    if valid_from is not None and test_from is not None:
        first, second = moment(valid_from), moment(test_from)
    else:
        check_shares(valid_share=valid_share, test_share=test_share)
        ordered = np.sort(time)
        at = [int(len(time) * (1 - valid_share - test_share)), int(len(time) * (1 - test_share))]
        first, second = (int(ordered[i]) for i in at)
    if first > second:
        raise DataError(f"valid_from ({first}) must not be later than test_from ({second})")
    return first, second


def _existing(events: Interactions, cut: int, launched: np.ndarray | None) -> np.ndarray:
    assert events.time is not None
    existing = np.zeros(len(events.items), bool)
    existing[events.item[events.time < cut]] = True
    return existing if launched is None else existing | (launched < cut)


def _first_of_user(events: Interactions, mask: np.ndarray) -> np.ndarray:
    at = np.flatnonzero(mask)
    first = np.zeros(len(events), bool)
    first[at[np.unique(events.user[at], return_index=True)[1]]] = True
    return first


def _launch_times(catalog: Catalog, column: str) -> np.ndarray:
    """Unix seconds [items]; items without a value count as never released (an event can still show they exist)."""
    values = catalog.column(column)
    if pa.types.is_temporal(values.type):
        # Through microseconds since 1970, whatever unit the column has; dates first become timestamps.
        seconds = values.cast(pa.timestamp("us")).cast(pa.int64())
        return np.asarray(pa.compute.divide(seconds, 1_000_000).fill_null(np.iinfo(np.int64).max), np.int64)
    if pa.types.is_integer(values.type):
        return np.asarray(values.cast(pa.int64()).fill_null(np.iinfo(np.int64).max), np.int64)
    raise SchemaError(
        f"`{column}` holds {values.type}, not times",
        column=column,
        hint="Name a date, timestamp or integer (Unix seconds) column.",
    )


def _before(shown: Impressions | None, cut: int) -> Impressions | None:
    if shown is None or shown.time is None:
        return None
    return take_impressions(shown, shown.time < cut)
