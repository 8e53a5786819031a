"""Keeping a Lance store small, and bringing old states of it back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from itemspace.store.commits import Commit, CommitLog
from itemspace.store.contract import StoreConfig
from itemspace.store.tables import LIVE, PUT, VERSION, Pinned, Tables, array_of

BATCH = 65_536
_WASTE = 1.5


def keep_seconds(log: CommitLog, config: StoreConfig) -> float:
    """How long superseded states are kept: as configured, less when that would be too many."""
    written = sorted(log.dated().values(), reverse=True)
    if len(written) <= config.keep_versions:
        return config.keep_seconds
    return min(config.keep_seconds, max(0.0, time.time() - written[config.keep_versions]))


def tidy(
    tables: Tables, config: StoreConfig, commit: Commit, *, keep: float, logs: set[str], everything: bool = False
) -> Commit:
    """Merge the small pieces of busy tables and drop superseded entries where they are many (or `everything` is asked).

    `logs` are the tables in which the newest entry of a row counts. `keep` is how many seconds superseded states stay.
    The commit returned names the same content.
    """
    # A commit is written a moment after the tables it names: they are kept a little longer than it is.
    keep *= 1.1
    versions, writes = dict(commit.tables), dict(commit.writes)
    for name, version in commit.tables.items():
        if not everything and writes.get(name, 0) < config.compact_after:
            continue
        keys = tables.pin(name, version).keys if name in logs else None
        wasteful = keys is not None and keys.entries > (1 if everything else _WASTE) * len(keys.rows)
        versions[name] = tables.rewrite(name, version, BATCH, keep) if wasteful else tables.merge(name, keep)
        writes[name] = 0
    return replace(commit, tables=versions, writes=writes)


def prune_log(log: CommitLog, commit: Commit, *, keep: float) -> None:
    """Forget commits superseded longer than `keep` seconds ago, except snapshots."""
    limit = time.time() - keep
    dated = log.dated()
    kept = {version for version, written in dated.items() if written >= limit}
    old = [version for version in dated if version not in kept]
    # The newest of the old ones was the present state until its successor came, which may be a moment ago.
    kept |= {max(old, default=0), commit.version, max(dated), *commit.snapshots.values()}
    log.prune(kept)


def rolled_back(now: Pinned, old: Pinned | None, version: int) -> Iterator[pa.Table]:
    """Entries that, appended to a log as `version`, make its state that of `old` again.

    Rows that differ get the entry they had; rows that were not there then are marked as removed.
    """
    keys = now.keys
    before = np.full(len(keys.rows), -1, np.int64)
    if old is not None:
        at = old.keys.positions(keys.rows)
        before[at >= 0] = old.keys.versions[at[at >= 0]]
    differs = keys.versions != before
    if old is not None:
        yield from _restamped(old, keys.rows[differs & (before >= 0)], version)
    yield from _restamped(now, keys.rows[differs & (before < 0) & keys.live], version, live=False)


def all_entries(old: Pinned, version: int) -> Iterator[pa.Table]:
    """Every newest entry of `old`, stamped with `version`."""
    yield from _restamped(old, old.keys.rows, version)


def _restamped(pinned: Pinned, rows: np.ndarray, version: int, *, live: bool | None = None) -> Iterator[pa.Table]:
    for start in range(0, len(rows), BATCH):
        yield restamp(pinned.lookup(rows[start : start + BATCH]), version, live=live, put=True)


def first_events(old: Pinned, count: int, batch_rows: int = 1_000_000) -> Iterator[pa.Table]:
    """The events an older state held, in order."""
    for start in range(0, max(count, 1), batch_rows):
        part = old.read(where=f"_sequence >= {start} AND _sequence < {min(start + batch_rows, count)}")
        yield part.take(pa.array(np.argsort(array_of(part, "_sequence"))))


def restamp(entries: pa.Table, version: int, *, live: bool | None = None, put: bool = False) -> pa.Table:
    """`entries` written again as `version`; as put then (of items), and as `live`, where given."""
    stamp = pa.array(np.full(entries.num_rows, version, np.int64))
    entries = _replaced(entries, VERSION, stamp)
    if put and PUT.name in entries.schema.names:
        entries = _replaced(entries, PUT, stamp)
    return entries if live is None else _replaced(entries, LIVE, pa.array(np.full(entries.num_rows, live)))


def _replaced(entries: pa.Table, field: pa.Field, values: pa.Array) -> pa.Table:
    return entries.set_column(entries.schema.get_field_index(field.name), field, values)
