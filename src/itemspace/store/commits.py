"""The commit log: one small immutable file per acknowledged write, naming the state of every table.

```text
store.json             what kind of folder this is, its format, the columns of items
LOCK                   held by the writer; names its process
commits/00000017.json  the state after write 17: {"version", "tables": {name: table version}, "meta": {key: version}, ...}
appended/00000017.<table>@<version>.arrow   what write 17 appended to a table, where it is little: a copy for readers who
                       follow, so that they need not ask the engine; without it, or where it is damaged, they do
meta/<key>.<n>.json    a meta value as written by commit n
```

A write is acknowledged when its commit file has its final name: one rename. Tables may hold more than the last commit
names (a writer was killed in between); nobody looks there, and the next writer takes it back.
"""

from __future__ import annotations

import os
import re
import zlib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from itemspace.core.errors import ArtifactError, DataError
from itemspace.core.files import read_json, write_json_atomic

_NAME = re.compile(r"^(\d{8,})\.json$")
MOST_FOLLOWED = 64
"""Writes that a reader follows one by one; further behind, it asks the engine."""
_KEY = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")


@dataclass(frozen=True)
class Commit:
    """The state of a store after write `version`.

    tables: table -> its version. writes: table -> small writes since it was last tidied. meta: key -> commit that wrote
    it. snapshots: tag -> version. events: how many there are. events_reset: the version at which they were rolled back.
    """

    version: int = 0
    tables: dict[str, int] = field(default_factory=dict)
    writes: dict[str, int] = field(default_factory=dict)
    meta: dict[str, int] = field(default_factory=dict)
    snapshots: dict[str, int] = field(default_factory=dict)
    events: int = 0
    events_reset: int = 0

    def next(self, **changed: Any) -> Commit:
        """The commit after this one."""
        return replace(self, version=self.version + 1, **changed)


class CommitLog:
    """Reads and writes the commit files in one folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path / "commits"
        self._last: Commit | None = None
        self._held = False

    def create(self) -> None:
        """Start the log with the empty state."""
        self.folder.mkdir(parents=True)
        (self.path / "meta").mkdir()
        self.write(Commit())

    def versions(self) -> list[int]:
        """The versions whose commit files exist, ascending."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            raise ArtifactError(f"{self.folder} is missing.") from None
        return sorted(int(m[1]) for m in map(_NAME.match, names) if m)

    def dated(self) -> dict[int, float]:
        """Version -> when it was written (Unix seconds)."""
        return {version: self._file(version).stat().st_mtime for version in self.versions()}

    def hold(self) -> Commit:
        """The last state, which from here to `let_go` only this object changes: its caller holds the writer's lock."""
        commit = self.latest()
        self._held = True
        return commit

    def let_go(self) -> None:
        """Others may write again."""
        self._held = False

    def latest(self) -> Commit:
        """The state after the last acknowledged write."""
        if self._held and self._last is not None:
            return self._last
        for _ in range(100):
            versions = self.versions()
            if not versions:
                raise ArtifactError(f"{self.folder} is damaged: it holds no commit.")
            if self._last is not None and self._last.version == versions[-1]:
                return self._last
            try:
                self._last = self.at(versions[-1])
            except DataError:
                continue  # tidied away between listing and reading, so there is a newer one
            return self._last
        raise ArtifactError(f"{self.folder} changes faster than it can be read.")

    def at(self, version: int) -> Commit:
        """The state after write `version`.

        Raises:
            DataError: that state is not kept any more.
        """
        path = self._file(version)
        if not path.exists():
            raise DataError(f"version {version} is not kept.", hint="Snapshots are kept: see snapshots().")
        value = read_json(path)
        try:
            return Commit(**value)
        except TypeError:
            raise ArtifactError(f"{path} is damaged: it is not a commit.") from None

    def write(self, commit: Commit) -> None:
        """Acknowledge `commit`."""
        self._last = None  # should writing fail, the folder says whether the commit is there
        write_json_atomic(self._file(commit.version), asdict(commit))
        self._last = commit

    def prune(self, keep: set[int]) -> None:
        """Forget the states not in `keep` and the meta values only they name."""
        kept = [self.at(v) for v in self.versions() if v in keep]
        named = {f"{key}.{n}.json" for commit in kept for key, n in commit.meta.items()}
        for version in self.versions():
            if version not in keep:
                self._file(version).unlink(missing_ok=True)
        for file in (self.path / "appended").glob("*.arrow"):
            if int(file.name.partition(".")[0]) < max(keep, default=0) - MOST_FOLLOWED:
                file.unlink(missing_ok=True)
        for file in (self.path / "meta").iterdir():
            if file.name not in named:
                file.unlink(missing_ok=True)

    def write_appended(self, version: int, table: str, table_version: int, entries: pa.Table) -> None:
        """Keep what write `version` is about to append to a table, for readers who follow. Not synced: it is a copy."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, entries.schema) as writer:
            writer.write_table(entries)
        content = sink.getvalue().to_pybytes()
        place = self._appended_file(version, table, table_version)
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(zlib.crc32(content).to_bytes(4, "little") + content)

    def appended(self, since: int, until: Commit, table: str) -> list[pa.Table] | None:
        """What was appended to `table` after version `since` up to `until`, write by write; None where not all is kept."""
        if not 0 <= until.version - since <= MOST_FOLLOWED:
            return None
        found = []
        try:
            before = self.at(since) if since < until.version else until
            for version in range(since + 1, until.version + 1):
                after = until if version == until.version else self.at(version)
                now = after.tables.get(table)
                if after.events_reset != before.events_reset:
                    return None
                if now is not None and now != before.tables.get(table):
                    found.append(_checked(self._appended_file(version, table, now).read_bytes()))
                before = after
        except (DataError, ArtifactError, OSError, ValueError):  # pa.ArrowInvalid is a ValueError
            return None
        return found

    def _appended_file(self, version: int, table: str, table_version: int) -> Path:
        return self.path / "appended" / f"{version:08d}.{table}@{table_version}.arrow"

    def write_meta(self, key: str, version: int, value: Any) -> None:
        """Write what commit `version` will name as the value of `key`."""
        check_key(key)
        try:
            write_json_atomic(self.path / "meta" / f"{key}.{version}.json", value)
        except (TypeError, ValueError) as error:
            raise DataError(f"the meta value `{key}` is not JSON: {error}.") from None

    def read_meta(self, commit: Commit, key: str, default: Any) -> Any:
        """The value of `key` at `commit`."""
        if key not in commit.meta:
            return default
        return read_json(self.path / "meta" / f"{key}.{commit.meta[key]}.json")

    def _file(self, version: int) -> Path:
        return self.folder / f"{version:08d}.json"


def _checked(content: bytes) -> pa.Table:
    """The table in a file of `write_appended`.

    Raises:
        ValueError: the file is not whole.
    """
    if int.from_bytes(content[:4], "little") != zlib.crc32(content[4:]):
        raise ValueError("not whole")
    return pa.ipc.open_stream(pa.py_buffer(content)[4:]).read_all()


def check_key(key: str) -> None:
    """Refuse names that are not safe as file names."""
    if not isinstance(key, str) or not _KEY.match(key):
        raise DataError(f'"{key}" is not a name: use up to 100 letters, digits, ".", "_" and "-".')
