"""Files that survive a kill and a power cut: atomic replacement, fsync, and locks that name their holder."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from itemspace.core.errors import ArtifactError, InUseError, shown


def as_path(given: object) -> Path:
    """A path a file system can have.

    Raises:
        ArtifactError: not text or a path, empty, or with characters or a length no file name has.
    """
    if not isinstance(given, (str, os.PathLike)) or not str(given):
        raise ArtifactError(f"a path is text or a Path, got {given!r}.")
    path = Path(given)
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return path
    except (OSError, ValueError) as error:
        raise ArtifactError(f'"{shown(path)}" cannot be a path: {getattr(error, "strerror", None) or error}.') from None
    return path


def fsync_file(path: Path) -> None:
    """Have the disk hold what `path` holds."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


fsync_folder = fsync_file
"""A folder is synced the same way: it makes the names in it durable."""


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Replace `path` with `content`: a reader, or a killed writer, leaves either the old file or the new one."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    fsync_folder(path.parent)


def write_json_atomic(path: Path, value: Any) -> None:
    """Replace `path` with `value` as JSON, durably and at once."""
    text = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False)
    write_bytes_atomic(Path(path), (text + "\n").encode())


def read_json(path: Path) -> Any:
    """The JSON value in `path`.

    Raises:
        ArtifactError: the file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing.") from None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged: it is not JSON ({error}).") from None


def save_arrays(folder: Path, **arrays: np.ndarray) -> None:
    """Write each array to `folder/<name>.npy`.

    Raises:
        TypeError: an array of Python objects, which would need pickle.
    """
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise TypeError(f"the array `{name}` holds Python objects; only plain numbers and fixed strings are saved")
        np.save(Path(folder) / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)


def load_arrays(folder: Path, *, mmap: bool = True) -> dict[str, np.ndarray]:
    """Every array that `save_arrays` wrote to `folder`, by name; memory-mapped read-only unless `mmap` is False.

    Raises:
        ArtifactError: a file is damaged.
    """
    found: dict[str, np.ndarray] = {}
    for path in sorted(Path(folder).glob("*.npy")):
        found[path.stem] = load_array(path, mmap=mmap)
    return found


def load_array(path: Path, *, mmap: bool = True) -> np.ndarray:
    """One array from an npy file; memory-mapped read-only unless `mmap` is False.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    try:
        return np.load(path, mmap_mode="r" if mmap and path.stat().st_size > 128 else None, allow_pickle=False)
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing.") from None
    except (OSError, ValueError, EOFError):
        try:
            # An array without elements cannot be mapped; it can be read.
            return np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ArtifactError(f"{path} is damaged: {error}.") from None


def copy_files(source: Path, target: Path, *, link: bool) -> None:
    """Copy the files of one folder to another, durably; `link` allows a second name for the same file instead."""
    target.mkdir(parents=True)
    for path in source.iterdir():
        if not (link and _linked(path, target / path.name)):
            shutil.copy2(path, target / path.name)
            fsync_file(target / path.name)
    fsync_folder(target)


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:  # across disks, or a file system without links
        return False
    return True


def remove_tree(path: Path) -> None:
    """Delete a folder; what is already gone is fine."""
    shutil.rmtree(path, ignore_errors=True)


_HOLDER = 32
"""Characters in a lock's file: who holds it."""


class FileLock:
    """An exclusive lock on a file, for one holder over all processes; it ends with the process that holds it.

    The file holds the process number of the holder, so that whoever is refused learns who to wait for, and a mark of the
    object that held it last.
    """

    def __init__(self, path: Path, *, what: str) -> None:
        self.path, self.what = Path(path), what
        self._handle: int | None = None
        self._mark = secrets.token_hex(8)
        self.undisturbed = False
        """Whether nobody else has held the lock since this object last did."""

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._handle is not None

    def acquire(self) -> None:
        """Take the lock, or say who has it. Taking it twice is fine.

        Raises:
            InUseError: another process (or another object of this one) holds it.
            ArtifactError: the folder cannot be written.
        """
        if self._handle is not None:
            return
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ArtifactError(f"{self.what} cannot be written: {error.strerror} ({self.path}).") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = next(iter(os.pread(handle, _HOLDER, 0).decode(errors="replace").split()), "unknown")
            os.close(handle)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise InUseError(
                f"{self.what} is being written by process {holder}. Wait until it ends, or close it there first."
            ) from None
        # Always as long: a file cut short and written anew is flushed to disk by some file systems.
        mine = f"{os.getpid()} {self._mark}".ljust(_HOLDER).encode()
        self.undisturbed = os.pread(handle, _HOLDER, 0) == mine
        if not self.undisturbed:
            os.pwrite(handle, mine, 0)
        self._handle = handle

    def release(self) -> None:
        """Give the lock back; without holding it, nothing happens."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
