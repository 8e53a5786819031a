"""The reports of a Space: kept in its folder beside its generations, where the server finds them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from itemspace.core.report import Report

FOLDER = "reports"


def keep_reports(space: Path, reports: Mapping[str, Report]) -> None:
    """Write reports, by name, into the folder of the Space at `space`; each replaces the one of its name as a whole."""
    folder = space / FOLDER
    folder.mkdir(exist_ok=True)
    for name, report in reports.items():
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(handle, 0o644)
            file.write(report.to_json())
        os.replace(temporary, folder / f"{name.replace(' ', '-')}.json")


def kept_reports(space: Path) -> dict[str, Report]:
    """The reports that were kept, by name.

    Raises:
        ArtifactError: one of them is damaged. FormatVersionError: a newer itemspace wrote it.
    """
    files = sorted((space / FOLDER).glob("[!.]*.json"))
    return {path.stem.replace("-", " "): Report.open(path) for path in files}
