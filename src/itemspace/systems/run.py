"""Running a system's check and keeping what it found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from itemspace.core.contracts import Budget
from itemspace.evaluate.bench import run_check
from itemspace.evaluate.claims import PLACES, Place
from itemspace.evaluate.records import record, save_record
from itemspace.systems.registry import built, find


def run_system(
    slug: str,
    *,
    data: str | Path | None = None,
    quick: bool = False,
    places: Sequence[Place] = PLACES,
    seeds: Sequence[int] | None = None,
    budget: Budget | None = None,
    keep: str | Path | None = None,
) -> dict[str, Any]:
    """Measure a system's claims and return the finding: verdicts, values, data, code, budgets, machine.

    data: the folder with real data sets. quick: seconds instead of minutes. keep: the folder to write the finding to
    (`findings_folder()` is the one under version control); quick findings are for looking at and are never kept.

    Raises:
        RequestError: no such system or place.
    """
    system = find(slug)
    finding = record(
        run_check(system, places=places, seeds=seeds, quick=quick, budget=budget, data=data), built()[slug]
    )
    if keep is not None and not quick:
        save_record(finding, Path(keep))
    return finding
