"""Impressions from a frame of shown items: vectorized, one row per item shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.catalog import Catalog
from itemspace.core.ids import Ids, string_ids
from itemspace.core.interactions import Impressions
from itemspace.core.judgments import Queries
from itemspace.data.frame import Frame
from itemspace.data.reader import Reading, Unknown


def impressions_of(
    reading: Reading,
    frame: Frame,
    catalog: Catalog,
    *,
    request: str,
    item: str,
    position: str,
    outcome: str,
    query: str | None = None,
    user: str | None = None,
    time: str | None = None,
    unknown: Unknown = "refuse",
) -> tuple[Catalog, Impressions]:
    """Columns named by role. Requests are numbered in file order; equal request IDs under different queries are two.

    Positions that start at 1 are moved to start at 0. Outcomes are numbers or true/false.
    """
    frame = reading.with_ids(reading.with_ids(frame, item), request)
    outcomes = frame.column(outcome)
    if pa.types.is_boolean(outcomes.type):
        frame = frame.with_column(outcome, outcomes.cast(pa.int8()))
    frame = reading.numbers(reading.numbers(frame, position), outcome)
    frame, times = reading.times(frame, time)
    before = frame.rows
    catalog, frame = reading.with_unknown(catalog, frame, item, unknown=unknown)
    if times is not None:
        times = times[np.isin(before, frame.rows)]
    places = np.asarray(frame.column(position)).astype(np.int32)
    if len(places) and places.min() == 1:
        places = places - 1
    requests = np.asarray(frame.column(request).dictionary_encode().indices, np.int64)
    asked, names = None, ()
    if query is not None:
        encoded = string_ids(frame.column(query)).fill_null("").dictionary_encode()
        asked, names = np.asarray(encoded.indices, np.int32), tuple(encoded.dictionary.to_pylist())
        requests = requests * len(names) + asked
    users = None if user is None else Ids.permuted(string_ids(frame.column(user)), seed=reading.seed, kind="user")
    made = Impressions(
        _numbered(requests),
        catalog.ids.find(frame.column(item)),
        places,
        np.asarray(frame.column(outcome), np.float32),
        catalog.ids,
        asked,
        names,
        None if users is None else users.find(string_ids(frame.column(str(user)))),
        users,
        times,
    )
    return catalog, made


def in_words(shown: Impressions, queries: Queries) -> Impressions:
    """The same impressions with query IDs replaced by their texts, where every query of the log is such an ID."""
    rows = queries.ids.find(list(shown.queries))
    if not len(rows) or (rows < 0).any():
        return shown
    return replace(shown, queries=tuple(queries.texts[row] for row in rows.tolist()))


def _numbered(keys: np.ndarray) -> np.ndarray:
    """Keys [n] as numbers from 0 in order of first appearance."""
    return np.asarray(pc.dictionary_encode(pa.array(keys)).indices, np.int32)
