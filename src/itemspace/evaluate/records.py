"""Findings as records under version control, and whether the code they speak of is still the code there is."""

from __future__ import annotations

import ast
import hashlib
import json
import math
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from itemspace.core.errors import ArtifactError
from itemspace.evaluate.bench import Run
from itemspace.evaluate.provenance import hardware, versions

FORMAT = 1
_PACKAGE = Path(__file__).resolve().parents[1]


def record(run: Run, source: Path) -> dict[str, Any]:
    """A run as plain values: claims with verdicts, and everything needed to judge or repeat it.

    source: the file that defines the system, for the fingerprint of the code.
    """
    outcomes = [outcome.to_json() for outcome in run.outcomes]
    return {
        "format": FORMAT,
        "slug": run.system.slug,
        "title": run.system.title,
        "year": run.system.year,
        "family": run.system.family,
        "measured": time.strftime("%Y-%m-%d", time.gmtime()),
        "state": "measured" if all(o["state"] == "result" for o in outcomes) else "unfinished",
        "code": code_fingerprint(source),
        "claims": outcomes,
        "places": {
            place: {
                "seeds": list(bench.seeds),
                "quick": bench.quick,
                "seconds": round(run.seconds[place], 1),
                "data": bench.inputs,
                "budget": {
                    "allowed": {"seconds": bench.budget.seconds, "epochs": bench.budget.epochs},
                    "spent": bench.spent,
                },
                "values": bench.values,
                "notes": [*bench.notes, *([f"not measured: {bench.absent}"] if bench.absent else [])],
            }
            for place, bench in run.benches.items()
        },
        "hardware": hardware(),
        "versions": versions(),
    }


def save_record(finding: Mapping[str, Any], folder: Path) -> Path:
    """Write a finding to `folder/<slug>.json`; returns the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{finding['slug']}.json"
    path.write_text(json.dumps(_rounded(finding), indent=1, sort_keys=False, ensure_ascii=False) + "\n")
    return path


def load_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Every finding in a folder, by slug; empty where there is no folder.

    Raises:
        ArtifactError: a file is not a finding, or of a newer format.
    """
    found = {}
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            one = json.loads(path.read_text())
            newer = one["format"] > FORMAT
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{path} is not a finding: {error}.") from None
        if newer:
            raise ArtifactError(f"{path} was written by a newer itemspace (format {one['format']}, known {FORMAT}).")
        found[one["slug"]] = one
    return found


def is_stale(finding: Mapping[str, Any], source: Path) -> bool:
    """Whether the system, or anything of itemspace it is made of, was changed since it was measured."""
    return finding["code"] != code_fingerprint(source)


def code_fingerprint(source: Path) -> str:
    """A hash of a file and of every itemspace module it imports, directly or not, wherever the import stands.

    Of what the code does, not how it reads: comments, docstrings and layout do not count.
    """
    digest = hashlib.sha256()
    for path in sorted(_closure(source.resolve())):
        name = path.relative_to(_PACKAGE).as_posix() if path.is_relative_to(_PACKAGE) else path.name
        digest.update(f"{name}\0{_meaning(path)}\0".encode())
    return digest.hexdigest()[:16]


def _closure(source: Path) -> set[Path]:
    todo, seen = [source], {source}
    while todo:
        for path in _imports(todo.pop()):
            if path not in seen:
                seen.add(path)
                todo.append(path)
    return seen


@cache
def _imports(path: Path) -> tuple[Path, ...]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "itemspace":
            module = node.module or ""
            found += [_file(module), *(_file(f"{module}.{name.name}") for name in node.names)]
        elif isinstance(node, ast.Import):
            found += [_file(name.name) for name in node.names if name.name.split(".")[0] == "itemspace"]
    return tuple(path for path in found if path is not None)


def _file(module: str) -> Path | None:
    at = _PACKAGE.joinpath(*module.split(".")[1:])
    return next((p for p in (at.with_suffix(".py"), at / "__init__.py") if p.is_file() and at != _PACKAGE), None)


@cache
def _meaning(path: Path) -> str:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and isinstance(
            body, list
        ):
            kept = [s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
            node.body = kept or [ast.Pass()]
    return ast.unparse(tree)


def _rounded(value: Any) -> Any:
    """Numbers to six significant digits, and no NaN: the records are read by people and by other programs."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, (list, tuple)) else value
