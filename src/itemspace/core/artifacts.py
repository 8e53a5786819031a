"""Artifacts: folders of immutable generations, and one small file that says which generation is current.

```text
shop.index/
  CURRENT               {"generation": "000002", "manifest": sha256 of its manifest.json}; replaced atomically
  LOCK                  held by the writer; names its process
  generations/000002/   manifest.json and the files it lists with size and sha256; never changed once here
```

A writer fills a temporary folder, syncs it to disk, renames it into `generations/` and then replaces `CURRENT`. Killed
at any moment, it leaves the last good generation current; what it left behind is removed by the next writer. A reader
holds a shared lock on the generation it opened, which `prune` respects.
"""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from itemspace._version import __version__
from itemspace.core.errors import ArtifactError, FormatVersionError
from itemspace.core.files import (
    FileLock,
    fsync_file,
    fsync_folder,
    load_array,
    load_arrays,
    read_json,
    remove_tree,
    save_arrays,
    write_bytes_atomic,
    write_json_atomic,
)

__all__ = ["Artifact", "load_array", "load_arrays", "read_json", "save_arrays", "write_json_atomic"]

_RESERVED = ("type", "format", "itemspace", "created", "checksums")
_NAME = re.compile(r"^\d{6,}$")
_TEMPORARY = ".writing-"
_DEAD = ".removing-"
_WAY_OUT = " Restore it from a copy, or build it again."


class Artifact:
    """A folder of generations, opened at one of them. Made by `create` or `open`.

    ```python
    artifact = Artifact.create(path, type="index.flat", format=1)
    with artifact.write(manifest={"seed": 0}) as folder:
        save_arrays(folder, rows=rows)
    artifact.folder, artifact.manifest      # the generation just written
    ```
    """

    def __init__(self, path: Path, *, type: str, format: int) -> None:
        """Use `create` or `open`."""
        self.path, self.type, self.format = Path(path), type, format
        self._generation: str | None = None
        self._manifest: dict[str, Any] = {}
        self._held: int | None = None
        self._derived: tuple[str, ...] = ()
        self._lock = FileLock(self.path / "LOCK", what=f"{self.path}")

    @classmethod
    def create(cls, path: str | Path, *, type: str, format: int, beside: Collection[str] = ()) -> Self:
        """The artifact at `path`, ready for `write`: a new folder, or an artifact of this type that is already there.

        beside: names that the artifact's owner keeps in the folder beside its generations.

        Raises:
            ArtifactError: something else is at `path`.
            FormatVersionError: a newer itemspace wrote what is there.
        """
        made = cls(Path(path), type=type, format=format)
        if (made.path / "CURRENT").exists():
            return cls.open(path, type=type, format=format)
        if made.path.exists() and not made.path.is_dir():
            raise ArtifactError(f"{made.path} is a file; an artifact needs a folder of its own.")
        strangers = [p.name for p in made.path.iterdir()] if made.path.exists() else []
        strangers = [
            name for name in strangers if name not in ("LOCK", "generations", *beside) and not name.startswith(".")
        ]
        if strangers:
            raise ArtifactError(
                f"{made.path} is not empty and not an artifact (it holds {min(strangers)}). Choose another path."
            )
        try:
            (made.path / "generations").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArtifactError(f"{made.path} cannot be made: {error.strerror}. Choose another path.") from None
        fsync_folder(made.path)
        fsync_folder(made.path.absolute().parent)
        return made

    @classmethod
    def open(cls, path: str | Path, *, type: str, format: int, derived: Collection[str] = ()) -> Self:
        """The artifact at `path`, at its current generation, which stays readable until `close`.

        Every file's presence and size are checked; `verify` checks the contents. derived: folders of the generation that
        its reader can make anew; damage there is left for it to find.

        Raises:
            ArtifactError: missing, damaged, without a finished generation, or of another type.
            FormatVersionError: its format is newer than `format`, the newest this code reads.
        """
        opened = cls(Path(path), type=type, format=format)
        opened._derived = tuple(f"{name}/" for name in derived)
        opened._load()
        return opened

    @property
    def generation(self) -> str:
        """The name of the generation this object reads."""
        if self._generation is None:
            raise ArtifactError(f"{self.path} holds no finished generation: its writer did not finish. Build it again.")
        return self._generation

    @property
    def folder(self) -> Path:
        """The folder of the generation."""
        return self.path / "generations" / self.generation

    @property
    def manifest(self) -> dict[str, Any]:
        """What the writer said, with `type`, `format`, `itemspace`, `created` and `checksums`."""
        self.generation  # noqa: B018 - raises when nothing was written
        return self._manifest

    def close(self) -> None:
        """Let go of the generation (and of the writer's lock); `prune` may then remove it."""
        self._lock.release()
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        held = getattr(self, "_held", None)
        if held is not None:
            os.close(held)

    def _load(self) -> None:
        """Open the current generation and hold it."""
        for _ in range(100):
            current = self._current()
            folder = self.path / "generations" / str(current["generation"])
            try:
                handle = os.open(folder / "manifest.json", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                if self._current() != current:
                    continue  # replaced and pruned in between: read the newer one
                raise ArtifactError(f"{folder / 'manifest.json'} is missing.{_WAY_OUT}") from None
            fcntl.flock(handle, fcntl.LOCK_SH)
            if not _same_file(handle, folder / "manifest.json"):
                os.close(handle)
                continue  # pruned between open and lock
            try:
                self._manifest = self._checked(folder, handle, current)
            except BaseException:
                os.close(handle)
                raise
            if self._held is not None:
                os.close(self._held)
            self._generation, self._held = str(current["generation"]), handle
            return
        raise ArtifactError(f"{self.path} is replaced faster than it can be opened.")

    def _current(self) -> dict[str, Any]:
        if not self.path.exists():
            raise ArtifactError(f"{self.path} does not exist. Check the path.")
        if not self.path.is_dir():
            raise ArtifactError(f"{self.path} is a file; an artifact is a folder. Check the path.")
        if not (self.path / "CURRENT").exists():
            if (self.path / "generations").is_dir():
                raise ArtifactError(
                    f"{self.path} holds no finished generation: its writer did not finish. Build it again."
                )
            raise ArtifactError(f"{self.path} is not an itemspace artifact: it has no CURRENT file. Check the path.")
        try:
            current = read_json(self.path / "CURRENT")
        except ArtifactError as error:
            raise ArtifactError(f"{error}{_WAY_OUT}") from None
        if not isinstance(current, dict) or not _NAME.match(str(current.get("generation", ""))):
            raise ArtifactError(f"{self.path / 'CURRENT'} is damaged: it names no generation.{_WAY_OUT}")
        return current

    def _checked(self, folder: Path, handle: int, current: Mapping[str, Any]) -> dict[str, Any]:
        """The manifest behind `handle`, or an error that says what is wrong with the generation."""
        raw = _read_all(handle)
        try:
            manifest = json.loads(raw)
        except ValueError:
            manifest = None
        if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
            raise ArtifactError(f"{folder / 'manifest.json'} is damaged: it is not a manifest.{_WAY_OUT}")
        # Type and format come before the checksum: a newer layout may well differ in everything else.
        if manifest.get("type") != self.type:
            raise ArtifactError(f"{self.path} is of type {manifest.get('type')!r}, not {self.type!r}.")
        if manifest["format"] > self.format:
            raise FormatVersionError(
                f"{self.path} has format {manifest['format']}, written by itemspace {manifest.get('itemspace')}. "
                f"This is itemspace {__version__}, which reads formats up to {self.format}. "
                f'Install a newer one:\n  pip install "itemspace>={manifest.get("itemspace")}"'
            )
        if "manifest" in current and hashlib.sha256(raw).hexdigest() != current["manifest"]:
            raise ArtifactError(f"{folder / 'manifest.json'} is damaged: its checksum does not match.{_WAY_OUT}")
        for name, entry in manifest.get("checksums", {}).items():
            if name.startswith(self._derived):
                continue
            try:
                size = (folder / name).stat().st_size
            except OSError:
                raise ArtifactError(f"{folder / name} is missing.{_WAY_OUT}") from None
            if size != entry["size"]:
                raise ArtifactError(
                    f"{folder / name} is damaged: {size:,} bytes instead of {entry['size']:,}.{_WAY_OUT}"
                )
        return manifest

    def verify(self) -> None:
        """Read every file and compare it with its checksum.

        Raises:
            ArtifactError: names the first file that differs or is missing.
        """
        for name, entry in self.manifest.get("checksums", {}).items():
            path = self.folder / name
            if not path.is_file():
                raise ArtifactError(f"{path} is missing.{_WAY_OUT}")
            if _sha256(path) != entry["sha256"]:
                raise ArtifactError(f"{path} is damaged: its checksum does not match.{_WAY_OUT}")

    @contextmanager
    def write(self, *, manifest: Mapping[str, Any]) -> Iterator[Path]:
        """A new generation: fill the folder yielded; on a clean exit it becomes current and this object reads it.

        On an exception nothing changes. `manifest` is stored with the reserved keys type, format, itemspace, created
        and checksums added.

        Raises:
            ArtifactError: another writer is at work; the message names its process.
        """
        taken = [key for key in _RESERVED if key in manifest]
        if taken:
            raise ArtifactError(f"the manifest key `{taken[0]}` is set by the artifact itself.")
        held = self._lock.held
        self._lock.acquire()
        try:
            generations = self.path / "generations"
            generations.mkdir(exist_ok=True)
            _remove_leftovers(generations)
            folder = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY}{os.getpid()}-", dir=generations))
            os.chmod(folder, 0o755)
            try:
                yield folder
                self._publish(folder, manifest)
            finally:
                remove_tree(folder)
            self._load()
        finally:
            if not held:
                self._lock.release()

    def _publish(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        full = {
            "type": self.type,
            "format": self.format,
            "itemspace": __version__,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            **manifest,
            "checksums": {
                str(p.relative_to(folder).as_posix()): {"size": p.stat().st_size, "sha256": _sha256(p)} for p in files
            },
        }
        raw = (json.dumps(full, ensure_ascii=False, indent=1) + "\n").encode()
        (folder / "manifest.json").write_bytes(raw)
        for path in [*files, folder / "manifest.json"]:
            fsync_file(path)
        for path in [*(p for p in folder.rglob("*") if p.is_dir()), folder]:
            fsync_folder(path)
        generations = self.path / "generations"
        taken = [int(p.name) for p in generations.iterdir() if _NAME.match(p.name)]
        name = f"{max(taken, default=0) + 1:06d}"
        os.rename(folder, generations / name)
        fsync_folder(generations)
        pointer = {"generation": name, "manifest": hashlib.sha256(raw).hexdigest()}
        write_bytes_atomic(self.path / "CURRENT", (json.dumps(pointer) + "\n").encode())

    def prune(self, keep: int = 2) -> list[str]:
        """Remove all but the newest `keep` generations, sparing the current one and those a reader holds.

        Returns:
            The names of the generations removed.
        """
        held = self._lock.held
        self._lock.acquire()
        try:
            generations = self.path / "generations"
            _remove_leftovers(generations)
            current = str(self._current()["generation"])
            names = sorted((p.name for p in generations.iterdir() if _NAME.match(p.name)), key=int)
            doomed = [n for n in names[: max(0, len(names) - max(keep, 1))] if n != current]
            return [name for name in doomed if _remove_generation(generations, name)]
        finally:
            if not held:
                self._lock.release()


def _remove_generation(generations: Path, name: str) -> bool:
    """Remove a generation unless a reader holds it."""
    path = generations / name / "manifest.json"
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        remove_tree(generations / name)
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Renamed first: a reader that comes now finds no such generation, never half of one.
        os.rename(generations / name, generations / f"{_DEAD}{name}")
    except OSError:
        return False
    finally:
        os.close(handle)
    remove_tree(generations / f"{_DEAD}{name}")
    return True


def _remove_leftovers(generations: Path) -> None:
    """What killed writers left. The caller holds the writer's lock, so nobody is at work on them."""
    for path in generations.glob(".*"):
        if path.name.startswith((_TEMPORARY, _DEAD)):
            remove_tree(path)


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _read_all(handle: int) -> bytes:
    with os.fdopen(os.dup(handle), "rb") as file:
        return file.read()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
