"""`Job`: a folder that holds a plan, what its workers read, what each chunk made, and what became of it all.

```text
vectors.job/
  job.json                 the plan: kind, options, phases, key; written last, so that a job there is a whole one
  inputs/                  what workers read, frozen when the job was planned
  chunks/<phase>/0000/     000017.3fa9c1d2e0b4.npy and its receipt 000017.json: size, checksum, seconds, where
  scratch/                 checkpoints of fits under way
  failed/                  chunks that could not be done, with the rows that are to blame
  result.json              what came of it; written last
  LOCK                     held by the process that drives the job
```

A chunk is done when its receipt is there and its file is as the receipt says. So a job is resumed from its files alone,
on whatever machines, and a chunk that two workers made counts once.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from itemspace._version import __version__
from itemspace.core.errors import ArtifactError, FormatVersionError, RequestError
from itemspace.core.files import (
    FileLock,
    as_path,
    fsync_file,
    fsync_folder,
    read_json,
    remove_tree,
    write_json_atomic,
)
from itemspace.core.hashing import fingerprint
from itemspace.jobs.chunks import Chunk, Phase

FORMAT = 1
_IN_FOLDER = 1_000
"""Chunks that lie together in one folder."""
_ABOUT = ("job.json", "inputs", "chunks", "scratch", "failed", "result.json", "LOCK")


class Job:
    """A planned job. Made by `plan` or `open`; worked on by `itemspace.jobs.running.run`."""

    def __init__(self, path: Path, told: Mapping[str, Any]) -> None:
        """Use `plan` or `open`."""
        self.path = path
        self.work: str = told["work"]
        self.key: str = told["key"]
        self.options: dict[str, Any] = dict(told["options"])
        self.phases = tuple(Phase.from_json(phase) for phase in told["phases"])
        self.out = Path(told["out"])
        self.lock = FileLock(path / "LOCK", what=f"the job {path}")

    # Making and opening

    @classmethod
    def plan(
        cls,
        path: str | Path,
        work: str,
        key: Sequence[Any],
        options: Mapping[str, Any],
        out: str | Path,
        prepare: Callable[[Path], Sequence[Phase]],
        *,
        into: bool = False,
    ) -> Job:
        """The job at `path`: the one that is there, if it is of the same work, or a new one.

        work: the import path of its `Work`. key: everything that its result follows from. prepare: writes what workers
        need into the folder given, and says the phases; called only for a new job. into: the result goes into something
        that is there.

        Raises:
            ArtifactError: `path` holds another job, or something else.
        """
        home, target = as_path(path), as_path(out).absolute()
        made = fingerprint(work, list(key), dict(options), str(target), __version__)
        if (home / "job.json").exists():
            there = cls.open(home)
            if there.key != made:
                raise ArtifactError(
                    f"{home} holds another job ({there.kind} into {there.out}). Choose another folder for this one, or "
                    f"go on with that one: itemspace jobs resume {home}"
                )
            return there
        strangers = sorted(p.name for p in home.iterdir() if p.name not in _ABOUT) if home.is_dir() else []
        strangers = [name for name in strangers if not name.startswith(".")]
        if strangers or (home.exists() and not home.is_dir()):
            raise ArtifactError(
                f"{home} is not a job and not empty (it holds {strangers[0] if strangers else 'a file'}). "
                "Choose another folder."
            )
        if target.exists() and not into:
            raise ArtifactError(f"{out} is there already. Remove it, or choose another place for the result.")
        home.mkdir(parents=True, exist_ok=True)
        lock = FileLock(home / "LOCK", what=f"the job {home}")
        lock.acquire()
        try:
            for stale in [*home.glob(".planning-*"), home / "inputs"]:
                remove_tree(stale)
            aside = home / f".planning-{os.getpid()}"
            aside.mkdir()
            phases = prepare(aside)
            sync(aside)
            aside.rename(home / "inputs")
            told = {
                "format": FORMAT,
                "itemspace": __version__,
                "work": work,
                "key": made,
                "options": dict(options),
                "phases": [phase.to_json() for phase in phases],
                "out": str(target),
            }
            write_json_atomic(home / "job.json", told)
        finally:
            lock.release()
        return cls.open(home)

    @classmethod
    def open(cls, path: str | Path) -> Job:
        """The job at `path`.

        Raises:
            ArtifactError: there is none, its planning did not finish, or another version of itemspace planned it.
            FormatVersionError: a newer itemspace planned it.
        """
        home = as_path(path)
        if not (home / "job.json").exists():
            begun = home.is_dir() and any(home.glob(".planning-*"))
            told = "its planning did not finish; run the same command again" if begun else "there is no job"
            raise ArtifactError(f"{home}: {told}.")
        found = read_json(home / "job.json")
        if not isinstance(found, dict) or not isinstance(found.get("format"), int):
            raise ArtifactError(
                f"{home / 'job.json'} is damaged: it is not the plan of a job. Plan it again elsewhere."
            )
        if found["format"] > FORMAT:
            raise FormatVersionError(
                f"{home} has format {found['format']}; this itemspace reads up to {FORMAT}. "
                f'Install a newer one:\n  pip install "itemspace>={found.get("itemspace")}"'
            )
        if found.get("itemspace") != __version__:
            raise ArtifactError(
                f"{home} was planned by itemspace {found.get('itemspace')}, this is {__version__}: half of the chunks by each "
                "would not be one result. Finish it with that version, or plan it again in another folder."
            )
        return cls(home, found)

    def __repr__(self) -> str:
        return f"Job({str(self.path)!r}: {self.kind} into {self.out})"

    @property
    def kind(self) -> str:
        """What it does, in one word."""
        return self.work.partition(":")[2].lower()

    @property
    def inputs(self) -> Path:
        """What workers read."""
        return self.path / "inputs"

    def phase(self, name: str) -> Phase:
        """One of its phases."""
        return next(phase for phase in self.phases if phase.name == name)

    # What chunks made

    def _home(self, chunk: Chunk) -> Path:
        return self.path / "chunks" / chunk.phase / f"{chunk.number // _IN_FOLDER:04d}"

    def scratch(self, chunk: Chunk) -> Path:
        """Where a chunk may keep its progress over kills; removed when it is done."""
        folder = self.path / "scratch" / chunk.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def receipt(self, chunk: Chunk) -> dict[str, Any] | None:
        """What is known of a chunk that is done; None while it is not, or where its file is not as it should be."""
        try:
            told = json.loads((self._home(chunk) / f"{chunk.number:06d}.json").read_bytes())
            right = told["job"] == self.key and (told["start"], told["stop"]) == (chunk.start, chunk.stop)
            for name, entry in told["files"].items():
                right = right and (self._home(chunk) / told["at"] / name).stat().st_size == entry["size"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return told if right else None

    def keep(self, chunk: Chunk, write: Callable[[Path], object], told: Mapping[str, Any]) -> dict[str, Any]:
        """Have `write` make the chunk's output, name it by its content, and write its receipt; durable on return."""
        home = self._home(chunk)
        home.mkdir(parents=True, exist_ok=True)
        form = self.phase(chunk.phase).form
        aside = home / f".{chunk.number:06d}-{secrets.token_hex(6)}"
        try:
            if form == "folder":
                aside.mkdir()
            write(aside)
            files = checksums(aside)
            sync(aside)
            content = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:12]
            at = f"{chunk.number:06d}.{content}" + ("" if form == "folder" else f".{form}")
            if form == "folder" and (home / at).exists():
                remove_tree(home / at)  # another worker's, of the same content
            os.replace(aside, home / at)
        finally:
            if aside.is_dir():
                remove_tree(aside)
            aside.unlink(missing_ok=True)
        fsync_folder(home)
        receipt = {
            "job": self.key, "phase": chunk.phase, "number": chunk.number, "label": chunk.label, "start": chunk.start,
            "stop": chunk.stop, "at": at, "files": files, **told,
        }  # fmt: skip
        note = home / f".{chunk.number:06d}-{secrets.token_hex(6)}.json"
        note.write_text(json.dumps(receipt))
        fsync_file(note)
        os.replace(note, home / f"{chunk.number:06d}.json")
        fsync_folder(home)
        (self.path / "failed" / f"{chunk.name}.json").unlink(missing_ok=True)
        remove_tree(self.path / "scratch" / chunk.name)
        return receipt

    def output(self, chunk: Chunk) -> Path:
        """The file or folder that a chunk left.

        Raises:
            ArtifactError: the chunk is not done.
        """
        told = self.receipt(chunk)
        if told is None:
            raise ArtifactError(f"{self.path}: {chunk.name} is not done. Go on with: itemspace jobs resume {self.path}")
        return self._home(chunk) / str(told["at"])

    def outputs(self, phase: str, label: str = "") -> Iterator[Path]:
        """What the chunks of a phase left, in row order."""
        return (self.output(chunk) for chunk in self.phase(phase).of(label))

    def missing(self, phase: Phase) -> list[Chunk]:
        """The chunks that are not done."""
        return [chunk for chunk in phase if self.receipt(chunk) is None]

    def damaged(self, phase: Phase) -> list[Chunk]:
        """Read every output of a phase; chunks that differ from their receipts are forgotten, and answered."""
        found = []
        for chunk in phase:
            told = self.receipt(chunk)
            if told is None or checksums(self._home(chunk) / told["at"]) != told["files"]:
                (self._home(chunk) / f"{chunk.number:06d}.json").unlink(missing_ok=True)
                found.append(chunk)
        return found

    # What went wrong, and what came of it

    def fail(self, chunk: Chunk, told: Mapping[str, Any]) -> None:
        """Note that a chunk could not be done, and why."""
        folder = self.path / "failed"
        folder.mkdir(exist_ok=True)
        note = {"chunk": chunk.name, "label": chunk.label, "start": chunk.start, "stop": chunk.stop, **told}
        write_json_atomic(folder / f"{chunk.name}.json", note)

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The chunks that could not be done when they were last tried."""
        return [read_json(path) for path in sorted((self.path / "failed").glob("[!.]*.json"))]

    @property
    def result(self) -> dict[str, Any] | None:
        """What came of it; None while it is not done."""
        path = self.path / "result.json"
        return read_json(path) if path.exists() else None

    def conclude(self, told: Mapping[str, Any], *, keep_chunks: bool) -> dict[str, Any]:
        """Write the result down, with every chunk's receipt; the chunks' own files have served their purpose."""
        made = {
            "out": str(self.out),
            **told,
            "chunks": sum(len(phase) for phase in self.phases),
            "phases": {phase.name: self._spent(phase) for phase in self.phases},
        }
        write_json_atomic(self.path / "result.json", json.loads(json.dumps(made, default=_plain)))
        remove_tree(self.path / "scratch")
        if not keep_chunks:
            for phase in self.phases:
                for chunk in phase:
                    told_of = self.receipt(chunk)
                    if told_of is not None:
                        _remove(self._home(chunk) / told_of["at"])
            remove_tree(self.inputs)
        return read_json(self.path / "result.json")

    def _spent(self, phase: Phase) -> dict[str, Any]:
        told = [found for found in map(self.receipt, phase) if found is not None]
        return {
            "rows": sum(one["stop"] - one["start"] for one in told),
            "cpu_s": round(sum(one["cpu_s"] for one in told), 3),
            "seconds": round(sum(one["seconds"] for one in told), 3),
            "retried": sum(one["attempt"] > 1 for one in told),
            "hosts": sorted({one["host"] for one in told}),
            "workers": len({(one["host"], one["pid"]) for one in told}),
            "checksum": fingerprint([one["files"] for one in told]),
        }

    @property
    def running(self) -> bool:
        """Whether a process drives it now."""
        try:
            handle = os.open(self.path / "LOCK", os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(handle)
        return False


def checksums(path: Path) -> dict[str, dict[str, Any]]:
    """Size and sha256 of a file (under the name "") or of every file of a folder."""
    files = [("", path)] if path.is_file() else [(p.relative_to(path).as_posix(), p) for p in sorted(path.rglob("*"))]
    found = {}
    for name, file in files:
        if file.is_file():
            with open(file, "rb") as handle:
                digest = hashlib.file_digest(handle, "sha256").hexdigest()
            found[name] = {"size": file.stat().st_size, "sha256": digest}
    return found


def sync(path: Path) -> None:
    """Have the disk hold a file, or a folder with everything below it."""
    if path.is_dir():
        for inner in path.iterdir():
            sync(inner)
    fsync_file(path)


def job_folder(out: str | Path, given: str | Path | None) -> Path:
    """Where a job lies: as given, or beside its result."""
    if given is not None:
        return as_path(given)
    target = as_path(out)
    if not target.name:
        raise RequestError(f'"{out}" has no name to call the job by; give a folder for it (job=..., --job).')
    return target.with_name(f"{target.name}.job")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else str(value)
