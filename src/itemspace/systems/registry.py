"""Which systems there are, and where each stands. Systems are found by walking the folder, imported only when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from itemspace.core.errors import RequestError, nearest
from itemspace.evaluate.bench import System
from itemspace.evaluate.records import is_stale, load_records

_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Row:
    """One published system. state: "not built", "built, not measured", "measured", "unfinished" or "stale".

    finding: the record of its last measurement, if any. source: its file, as a path in the source tree.
    """

    n: int
    slug: str
    family: str
    title: str
    state: str = "not built"
    finding: Mapping[str, Any] | None = None
    source: str | None = None

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The verdict of each claim, in order; empty where nothing was measured."""
        return tuple(claim["verdict"] for claim in (self.finding or {}).get("claims", ()))


@cache
def ledger() -> tuple[Row, ...]:
    """Every system of the plan, in its order."""
    lines = (_HERE / "ledger.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return tuple(Row(int(n), slug, family, title) for n, slug, family, title in (line.split("\t") for line in lines))


def built() -> dict[str, Path]:
    """Slug -> file of every system that has one, `<family>/<slug>.py`."""
    found = (path for path in sorted(_HERE.glob("*/*.py")) if not path.stem.startswith("_"))
    return {path.stem: path for path in found}


def find(slug: str) -> System:
    """The system of this slug.

    Raises:
        RequestError: no such system, or it is not built yet; the message names the nearest one.
    """
    files = built()
    if slug not in files:
        known = {row.slug: row for row in ledger()}
        if slug in known:
            raise RequestError(f"`{slug}` ({known[slug].title}) is not built yet. Built: {', '.join(files) or 'none'}.")
        raise RequestError(f"no system `{slug}`.{nearest(slug, known)} `itemspace systems` lists all.")
    module = importlib.import_module(f"itemspace.systems.{files[slug].parent.name}.{slug}")
    system: System = module.SYSTEM
    return system


def findings_folder() -> Path:
    """Where findings are kept: `docs/findings` of the source tree this package lies in, else of the current folder."""
    tree = _HERE.parents[2]
    return (tree if (tree / "pyproject.toml").is_file() else Path.cwd()) / "docs" / "findings"


def listing(findings: Path | None = None) -> tuple[Row, ...]:
    """Every system with its state and last finding; `findings` as `findings_folder()` where not given."""
    files, records = built(), load_records(findings if findings is not None else findings_folder())
    return tuple(_placed(row, files.get(row.slug), records.get(row.slug)) for row in ledger())


def _placed(row: Row, file: Path | None, finding: Mapping[str, Any] | None) -> Row:
    if file is None:
        return row
    state = "built, not measured"
    if finding is not None:
        state = "stale" if is_stale(finding, file) else finding["state"]
    source = Path("src", "itemspace", "systems", file.relative_to(_HERE)).as_posix()
    return Row(row.n, row.slug, row.family, row.title, state, finding, source)
