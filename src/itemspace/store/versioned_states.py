"""`VersionedStore`: what is recorded in versions, with the states of the past: snapshots, restoring, forgetting."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from itemspace.core.errors import DataError, nearest
from itemspace.store.commits import check_key
from itemspace.store.contract import StoreConfig
from itemspace.store.entries import ITEMS, VECTORS, State
from itemspace.store.loading import stamped_events
from itemspace.store.upkeep import BATCH, restamp
from itemspace.store.versioned import VersionedRecord


class VersionedStore(VersionedRecord):
    """A whole `Store`; a database's own store says how it is created and opened, and gives it its `Entries`."""

    def _tidied(self, state: State) -> State:
        if state.version % self.config.compact_after != self.config.compact_after - 1:
            return state
        return self._entries.prune(state, kept_versions(self._entries.dated(), state, self.config))

    def compact(self) -> int:
        with self._transaction() as base:
            kept = kept_versions(self._entries.dated(), base, self.config)
            version = self._commit(self._entries.prune(base, kept).next())
        self._entries.settle()
        return version

    def snapshot(self, tag: str) -> int:
        check_key(tag)
        with self._transaction() as base:
            if tag in base.snapshots:
                raise DataError(f'a snapshot "{tag}" exists already (version {base.snapshots[tag]}).')
            return self._commit(base.next(snapshots={**base.snapshots, tag: base.version + 1}))

    def drop_snapshot(self, tag: str) -> int:
        with self._transaction() as base:
            if tag not in base.snapshots:
                raise DataError(f'there is no snapshot "{tag}".{nearest(tag, base.snapshots)}')
            return self._commit(base.next(snapshots={t: v for t, v in base.snapshots.items() if t != tag}))

    def snapshots(self) -> dict[str, int]:
        return dict(self._now().snapshots)

    def versions(self) -> dict[int, float]:
        state = self._now()
        return {version: at for version, at in self._entries.dated().items() if version <= state.version}

    def restore(self, to: str | int) -> int:
        with self._transaction() as base:
            if isinstance(to, str) and to not in base.snapshots:
                raise DataError(f'there is no snapshot "{to}".{nearest(to, base.snapshots)}')
            old = self._entries.at(base.snapshots[to] if isinstance(to, str) else to)
            state = base.next(meta=old.meta)
            for log in (ITEMS, *(VECTORS + name for name in sorted(base.vectors))):
                self._rolled_back(log, base, old, state.version)
            return self._commit(self._events_rolled_back(base, old, state))

    def _rolled_back(self, log: str, base: State, old: State, version: int) -> None:
        """Entries that make a log's state that of `old` again: rows that differ get the entry they had, rows that were
        not there then are marked as removed."""
        rows, versions, live = self._entries.keys(log, base)
        before = np.full(len(rows), -1, np.int64)
        if log == ITEMS or log.removeprefix(VECTORS) in old.vectors:
            known, then, _ = self._entries.keys(log, old)
            before[np.isin(rows, known)] = then  # rows never leave: all that were known then are known now
        differs = versions != before
        for source, which, alive in (
            (old, differs & (before >= 0), None),
            (base, differs & (before < 0) & live, False),
        ):
            wanted = rows[which]
            for start in range(0, len(wanted), BATCH):
                entries = self._entries.read(log, source, rows=wanted[start : start + BATCH])
                self._entries.add(log, restamp(entries, version, live=alive, put=True))

    def _events_rolled_back(self, base: State, old: State, state: State) -> State:
        """The state with the events of `old`: what both share stays where it is, what has gone since is brought anew."""
        cuts = [count for version, count in base.cuts if version > old.version]
        shared = min([old.events, base.events, *cuts])
        if shared == base.events == old.events:
            return state
        for start in range(shared, old.events, BATCH):
            events = self._entries.events(old, start, min(start + BATCH, old.events))
            self._entries.add_events(stamped_events(events.drop_columns(["_version"]), state.version, start))
        return replace(state, events=old.events, events_reset=state.version, cuts=(*base.cuts, (state.version, shared)))

    def stats(self) -> dict[str, Any]:
        state = self._now()
        rows, _, live = self._entries.keys(ITEMS, state)
        return {
            "version": state.version,
            "items": len(rows),
            "live": int(np.count_nonzero(live)),
            "events": state.events,
            "vectors": {name: len(self._entries.keys(VECTORS + name, state)[0]) for name in sorted(state.vectors)},
            "snapshots": dict(state.snapshots),
            "bytes": self._entries.bytes(),
        }


def kept_versions(dated: dict[int, float], state: State, config: StoreConfig) -> list[int]:
    """The versions to keep, ascending, `state` last: the recent ones as configured, and snapshots."""
    newest = sorted(dated.values(), reverse=True)
    limit = time.time() - config.keep_seconds
    if len(newest) > config.keep_versions:
        limit = max(limit, newest[config.keep_versions])
    kept = {version for version, written in dated.items() if written >= limit}
    # The newest of the old ones was the present state until its successor came, which may be a moment ago.
    old = [version for version in dated if version not in kept]
    return sorted(kept | {max(old, default=state.version), state.version, *state.snapshots.values()})


def visible(at: np.ndarray, until: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Whether entries that count from version `at` to before `until` [n] show in any of the `kept` versions [n]."""
    return np.searchsorted(kept, at) < np.searchsorted(kept, until)


def shown_events(events: pa.Table, at: State) -> np.ndarray:
    """Which events, with their `_sequence` and `_version`, are there at a state: bool [n]."""
    order, written = events.column("_sequence").to_numpy(), events.column("_version").to_numpy()
    there = (written <= at.version) & (order < at.events)
    for version, count in at.cuts:
        there &= (order < count) | (written >= version)
    return np.asarray(there)
