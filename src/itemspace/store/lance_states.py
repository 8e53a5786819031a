"""The states of a `LanceStore`: snapshots, bringing one back, compaction, counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from itemspace.core.errors import DataError, nearest
from itemspace.core.files import fsync_folder, remove_tree
from itemspace.store.commits import Commit, check_key
from itemspace.store.tables import Pinned, Tables
from itemspace.store.transactions import EVENTS, ITEMS, VECTORS, Transactional
from itemspace.store.upkeep import all_entries, first_events, keep_seconds, prune_log, rolled_back


class LanceStates(Transactional):
    """The part of `LanceStore` that knows the past."""

    def _vector_table(self, commit: Commit, name: str) -> Pinned:
        pinned = self._pin(commit, VECTORS + name)
        if pinned is None:
            names = ", ".join(n.removeprefix(VECTORS) for n in commit.tables if n.startswith(VECTORS)) or "none"
            raise DataError(f"no vectors `{name}` are kept; there are: {names}.", nothing_written=False)
        return pinned

    def compact(self) -> int:
        with self._transaction() as base:
            version = self._commit(self._tidy(base, everything=True).next())
            prune_log(self._log, self._log.latest(), keep=keep_seconds(self._log, self.config))
            return version

    def snapshot(self, tag: str) -> int:
        check_key(tag)
        with self._transaction() as base:
            if tag in base.snapshots:
                raise DataError(f'a snapshot "{tag}" exists already (version {base.snapshots[tag]}).')
            commit = base.next(snapshots={**base.snapshots, tag: base.version + 1})
            folder = self._snapshot_folder(tag)
            remove_tree(folder)
            folder.mkdir(parents=True)
            for name in commit.tables:
                self._tables.link(name, folder)
            fsync_folder(folder)
            fsync_folder(folder.parent)
            return self._commit(commit)

    def _snapshot_folder(self, tag: str) -> Path:
        return self.location / "snapshots" / tag

    def drop_snapshot(self, tag: str) -> int:
        with self._transaction() as base:
            if tag not in base.snapshots:
                raise DataError(f'there is no snapshot "{tag}".{nearest(tag, base.snapshots)}')
            version = self._commit(base.next(snapshots={t: v for t, v in base.snapshots.items() if t != tag}))
            remove_tree(self._snapshot_folder(tag))
            return version

    def snapshots(self) -> dict[str, int]:
        return dict(self._now().snapshots)

    def versions(self) -> dict[int, float]:
        return self._log.dated()

    def restore(self, to: str | int) -> int:
        with self._transaction() as base:
            if isinstance(to, str) and to not in base.snapshots:
                raise DataError(f'there is no snapshot "{to}".{nearest(to, base.snapshots)}')
            version = base.snapshots[to] if isinstance(to, str) else to
            self._forget()
            old, tables = self._log.at(version), self._tables
            tags = [tag for tag, tagged in base.snapshots.items() if tagged == version]
            if tags:
                tables = Tables(self._snapshot_folder(tags[0]), fsync=False)
            then = {name: tables.pin(name, pinned) for name, pinned in old.tables.items()}
            commit = base.next(meta=old.meta, events=old.events)
            for name in sorted({*then, *base.tables} - {EVENTS}):
                now, before = self._pin(base, name), then.get(name)
                parts = iter(()) if before is None else all_entries(before, commit.version)
                for entries in parts if now is None else rolled_back(now, before, commit.version):
                    commit = self._append(commit, name, entries)
            return self._commit(self._events_rolled_back(base, old, commit, then.get(EVENTS)))

    def _events_rolled_back(self, base: Commit, old: Commit, commit: Commit, then: Pinned | None) -> Commit:
        if base.events == old.events and (base.events == 0 or base.events_reset <= old.version):
            return commit
        tables = {name: version for name, version in commit.tables.items() if name != EVENTS}
        if then is not None:
            tables[EVENTS] = self._heads[EVENTS] = self._tables.replace(EVENTS, first_events(then, old.events))
        return replace(commit, events_reset=commit.version, tables=tables)

    def stats(self) -> dict[str, Any]:
        commit = self._now()
        items = self._pin(commit, ITEMS)
        vectors = {name.removeprefix(VECTORS): name for name in commit.tables if name.startswith(VECTORS)}
        keys = {name: self._vector_table(commit, name).keys for name in vectors}
        return {
            "version": commit.version,
            "items": 0 if items is None else len(items.keys.rows),
            "live": 0 if items is None else int(items.keys.live.sum()),
            "superseded": 0 if items is None else items.keys.entries - len(items.keys.rows),
            "events": commit.events,
            "vectors": {name: len(k.rows) for name, k in keys.items()},
            "writes": dict(commit.writes),
            "snapshots": dict(commit.snapshots),
            "bytes": self._tables.bytes(),
        }
