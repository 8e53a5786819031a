"""How far a job is, from its files alone: while it runs, after a kill, when it is done."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from itemspace.jobs.folder import Job


@dataclass(frozen=True)
class Progress:
    """One phase. cpu_s, seconds: spent by the chunks that are done, over all workers. rows_per_cpu_s: theirs."""

    phase: str
    done: int
    chunks: int
    rows: int
    cpu_s: float
    seconds: float

    @property
    def rows_per_cpu_s(self) -> float:
        return self.rows / self.cpu_s if self.cpu_s else 0.0


@dataclass(frozen=True)
class Status:
    """A job as it stands. state: "done", "running", "failed" (chunks could not be done) or "stopped"."""

    job: str
    kind: str
    out: str
    state: str
    phases: tuple[Progress, ...]
    failures: tuple[dict[str, Any], ...]
    result: dict[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def status(path: str | Path) -> Status:
    """How far the job at `path` is.

    Raises:
        ArtifactError: there is no job.
    """
    job = Job.open(path)
    result, failures = job.result, tuple(job.failures)
    if result is not None:
        state = "done"
    elif job.running:
        state = "running"
    else:
        state = "failed" if failures else "stopped"
    phases = tuple(_finished(job, result) if result is not None else _counted(job))
    return Status(str(job.path), job.kind, str(job.out), state, phases, failures, result)


def _counted(job: Job) -> list[Progress]:
    found = []
    for phase in job.phases:
        told = [one for one in map(job.receipt, phase) if one is not None]
        rows = sum(one["stop"] - one["start"] for one in told)
        spent = sum(one["cpu_s"] for one in told), sum(one["seconds"] for one in told)
        found.append(Progress(phase.name, len(told), len(phase), rows, *spent))
    return found


def _finished(job: Job, result: dict[str, Any]) -> list[Progress]:
    """The chunks' own files may be gone."""
    told = result["phases"]
    return [
        Progress(
            one.name, len(one), len(one), told[one.name]["rows"], told[one.name]["cpu_s"], told[one.name]["seconds"]
        )
        for one in job.phases
    ]
