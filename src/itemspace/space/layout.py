"""Where a Space keeps what: an artifact of generations, the stores they speak of, and the stages of a build.

```text
shop.space/
  CURRENT                    the generation that answers
  generations/000001/        indexes, recommender, histories, manifest (immutable)
  stores/<name>/             the record: items, vectors, events (live)
  stages/<fingerprint>/      finished steps of an unfinished build
  reports/, maps/            what was measured and drawn last
  identities/<number>/       semantic IDs: a tokenizer and every code it gave (the live ones are in the store)
```
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

TYPE = "space"
FORMAT = 1
DERIVED = ("catalog", "dense", "lexical", "suggest")
BESIDE = ("stores", "stages", "reports", "maps", "identities", "BUILDING")


class Stages:
    """Finished steps of one build, so that a killed build goes on where it stopped.

    A step writes into a temporary folder that is renamed when complete: a folder that exists is a finished step.
    """

    def __init__(self, root: Path, say: Callable[[str], object]) -> None:
        self.root, self._say = root, say
        root.mkdir(parents=True, exist_ok=True)
        for stale in root.glob(".*"):
            shutil.rmtree(stale, ignore_errors=True)

    def folder(self, name: str, what: str, make: Callable[[Path], None]) -> Path:
        """The folder of step `name`, made by `make` unless an earlier, killed build finished it."""
        target = self.root / name
        if target.exists():
            self._say(f"{what}: done already, kept")
            return target
        self._say(what)
        temporary = self.root / f".{name}-{os.getpid()}"
        temporary.mkdir()
        make(temporary)
        sync_tree(temporary)
        temporary.rename(target)
        sync_folder(self.root)
        return target

    def clear(self) -> None:
        """Forget the steps (the generation has its own copies)."""
        shutil.rmtree(self.root, ignore_errors=True)


def sync_tree(folder: Path) -> None:
    """Force every file and folder below `folder` to disk."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            sync_folder(path)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Force a folder's entries to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def adopt(source: Path, target: Path, only: Collection[str] | None = None) -> None:
    """Put a finished step's files into a generation: hard links where the file system has them, else copies.

    only: the names of the files to take; by default all.
    """
    target.mkdir(parents=True, exist_ok=True)
    for path in source.rglob("*") if only is None else [source / name for name in only]:
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, place)
        except OSError:
            shutil.copy2(path, place)
