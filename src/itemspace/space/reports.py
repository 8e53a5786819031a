"""The reports of a Space: kept in its folder beside its generations, where a server finds them without measuring again."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from itemspace.core.files import write_bytes_atomic
from itemspace.core.report import Report

FOLDER = "reports"


def keep_reports(space: Path, reports: Mapping[str, Report], about: Mapping[str, Any] | None = None) -> None:
    """Write reports, by name, into the folder of the Space at `space`; each replaces the one of its name as a whole.

    about: what the reports were made of (generation, store version), kept in their provenance with the time.
    """
    folder = space / FOLDER
    folder.mkdir(exist_ok=True)
    kept = dict(about or {}) | {"at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
    for name, report in reports.items():
        whole = replace(report, provenance={**report.provenance, "kept": kept})
        write_bytes_atomic(folder / f"{name.replace(' ', '-')}.json", whole.to_json().encode())


def kept_reports(space: Path, about: Mapping[str, Any] | None = None) -> dict[str, Report]:
    """The reports that were kept, by name. about: what the Space is made of now; `provenance["kept"]["stale"]` then says

    whether a report is of something else.

    Raises:
        ArtifactError: one of them is damaged. FormatVersionError: a newer itemspace wrote it.
    """
    found = {}
    for path in sorted((space / FOLDER).glob("[!.]*.json")):
        report = Report.open(path)
        if about is not None:
            kept = dict(report.provenance.get("kept") or {})
            kept["stale"] = json.dumps([kept.get(key) for key in about]) != json.dumps(list(about.values()))
            report = replace(report, provenance={**report.provenance, "kept": kept})
        found[path.stem.replace("-", " ")] = report
    return found
