"""A leaderboard of run files: what sound ones score, and the page of all of them. `run_checks` says what is wrong with one.

Runs lie as `RUNS/DATASET/TAG.run` (or `.txt`, `.trec`, each possibly `.gz`), in TREC's format. A run is scored from its
file alone, by trec_eval's rules: ranked by score, equal scores by document ID descending, every judged query counted,
those without a line as 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError, RequestError
from itemspace.core.hits import Hits
from itemspace.core.report import Comparison
from itemspace.core.task import Task
from itemspace.data.readers.trec import read_run, write_run
from itemspace.data.splits.queries import query_task
from itemspace.evaluate.compare import report_of
from itemspace.evaluate.evaluation import Evaluation, evaluate_hits
from itemspace.evaluate.run_checks import DEPTH, Problem, RunCheck, run_ids, validate_run

METRICS = ("ndcg@10", "recall@100")
BASELINE = "bm25-flat"
_SUFFIXES = (".run", ".txt", ".trec")


def store_run(path: Path, hits: Hits, dataset: Dataset, *, tag: str) -> None:
    """Write the answers to every query of the dataset, hits [queries, k], as a TREC run."""
    assert dataset.queries is not None
    queries = replace(dataset.queries, ids=run_ids(dataset.queries.ids))
    write_run(path, replace(hits, ids=run_ids(dataset.catalog.ids)), queries, tag=tag)


def evaluate_run(
    path: Path, dataset: Dataset, metrics: Sequence[str] = METRICS, *, name: str | None = None
) -> Evaluation:
    """Score a run file on every judged query of `dataset`, as trec_eval does."""
    assert dataset.queries is not None
    assert dataset.judgments is not None
    task = query_task(dataset)
    judged = np.flatnonzero(np.diff(dataset.judgments.items.offsets) > 0)
    queries = replace(dataset.queries, ids=run_ids(dataset.queries.ids))
    hits = read_run(path, queries, run_ids(dataset.catalog.ids), k=None).take(judged)
    return evaluate_hits(_at_least(hits, 100), task, metrics, name=name or path.stem)


def _at_least(hits: Hits, depth: int) -> Hits:
    """The same hits with room for `depth`: metrics with a deeper cut-off than the run are still defined."""
    if hits.k >= depth:
        return hits
    wide = Hits.empty(len(hits), depth, ids=hits.ids)
    wide.rows[:, : hits.k], wide.scores[:, : hits.k] = hits.rows, hits.scores
    return wide


@dataclass(frozen=True)
class Entry:
    """A sound run on the board: its means, and its difference to the baseline's run on the same queries."""

    dataset: str
    tag: str
    file: str
    values: Mapping[str, float]
    effect: Comparison | None


@dataclass(frozen=True)
class Board:
    """All runs of all datasets: entries by dataset and falling first metric; what was refused, and why."""

    metrics: tuple[str, ...]
    baseline: str
    entries: tuple[Entry, ...]
    refused: tuple[tuple[str, RunCheck], ...]
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        entries = [
            {"dataset": e.dataset, "tag": e.tag, "file": e.file, "values": dict(e.values),
             "effect": None if e.effect is None else vars(e.effect)} for e in self.entries
        ]  # fmt: skip
        refused = [{"dataset": name, **check.to_json()} for name, check in self.refused]
        return {"metrics": list(self.metrics), "baseline": self.baseline, "entries": entries, "refused": refused}


def find_runs(folder: Path) -> dict[str, list[Path]]:
    """Dataset name -> its run files under `folder`.

    Raises:
        DataError: there is none.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*/*")):
        plain = path.with_suffix("") if path.suffix == ".gz" else path
        if path.is_file() and plain.suffix in _SUFFIXES:
            found.setdefault(path.parent.name, []).append(path)
    if not found:
        raise DataError("no run files are there.", file=str(folder), hint="They lie as RUNS/DATASET/TAG.run.")
    return found


def make_board(
    runs: Mapping[str, Sequence[Path]],
    datasets: Mapping[str, Dataset],
    *,
    metrics: Sequence[str] = METRICS,
    baseline: str = BASELINE,
    depth: int = DEPTH,
) -> Board:
    """Validate and score every run; differences are to the run tagged `baseline` of the same dataset.

    Raises:
        RequestError: runs of a dataset that was not given.
    """
    unknown = sorted(set(runs) - set(datasets))
    if unknown:
        have = ", ".join(sorted(datasets))
        raise RequestError(f"there are runs of {', '.join(unknown)}, but the data given are {have}.")
    entries: list[Entry] = []
    refused: list[tuple[str, RunCheck]] = []
    notes: dict[str, tuple[str, ...]] = {}
    for name, files in runs.items():
        sound: dict[str, Path] = {}
        for path in files:
            check = validate_run(path, datasets[name], depth=depth)
            if check.sound and check.tag in sound:
                again = Problem(
                    check.file, 0, "tag", check.tag, f'the tag "{check.tag}" is taken by {sound[check.tag].name}'
                )
                check = RunCheck(check.file, check.tag, check.lines, check.queries, (again,), check.notes)
            if check.sound:
                sound[check.tag] = path
            else:
                refused.append((name, check))
        entries += _entries(name, sound, datasets[name], tuple(metrics), baseline)
        notes[name] = (
            f"{len(query_task(datasets[name])):,} judged queries, {len(datasets[name].catalog):,} documents",
        )
    return Board(tuple(metrics), baseline, tuple(entries), tuple(refused), notes)


def _entries(
    name: str, sound: Mapping[str, Path], dataset: Dataset, metrics: tuple[str, ...], baseline: str
) -> list[Entry]:
    if not sound:
        return []
    scored = {tag: evaluate_run(path, dataset, metrics, name=tag) for tag, path in sound.items()}
    task: Task = next(iter(scored.values())).task
    effects: dict[str, Comparison] = {}
    if baseline in scored and len(scored) > 1:
        report = report_of({tag: [run] for tag, run in scored.items()}, task, baseline=baseline, slices=False)
        effects = {c.arm: c for c in report.comparisons if c.metric == metrics[0]}
    made = [
        Entry(name, tag, sound[tag].name, {metric: run[metric] for metric in metrics}, effects.get(tag))
        for tag, run in scored.items()
    ]
    return sorted(made, key=lambda entry: (-entry.values[metrics[0]], entry.tag))


_HALF = 12
"""Characters of the longest bar, to either side of 0."""


def board_page(board: Board, *, title: str = "Leaderboard") -> str:
    """The board as Markdown: per dataset every run with its metrics and a bar for its difference to the baseline."""
    return "\n".join(_page_lines(board, title)) + "\n"


def _page_lines(board: Board, title: str) -> Iterator[str]:
    yield f"# {title}"
    yield ""
    yield "Generated from run files. Every number is computed from the file as trec_eval does: ranked by score, all judged"
    yield f"queries counted. Effects are differences in {board.metrics[0]} to `{board.baseline}` on the same queries, with"
    yield "95% bootstrap intervals; p is of the paired randomization test with Holm's correction per dataset."
    names = list(dict.fromkeys([*board.notes, *(entry.dataset for entry in board.entries)]))
    if len(names) > 1:
        yield ""
        yield from _overview(board, names)
    widest = max((abs(e.effect.difference) for e in board.entries if e.effect is not None), default=0.0)
    for name in names:
        rows = [entry for entry in board.entries if entry.dataset == name]
        yield ""
        yield f"## {name}"
        yield ""
        yield "; ".join(board.notes.get(name, ())) + "."
        if rows:
            yield ""
            yield "| run | " + " | ".join(board.metrics) + f" | effect on {board.metrics[0]} | | p |"
            yield "|---" * (len(board.metrics) + 4) + "|"
        for entry in rows:
            cells = " | ".join(f"{entry.values[metric]:.4f}" for metric in board.metrics)
            yield f"| {entry.tag} | {cells} | {_effect(entry, board)} | {_bar(entry.effect, widest)} | {_p(entry.effect)} |"
        for refused, check in board.refused:
            if refused == name:
                more = f" (and {len(check.problems) - 1:,} more)" if len(check.problems) > 1 else ""
                yield ""
                yield f"Refused: {_cell(str(check.problems[0]))}{more}"


def _overview(board: Board, names: Sequence[str]) -> Iterator[str]:
    metric = board.metrics[0]
    by = {(e.tag, e.dataset): e.values[metric] for e in board.entries}
    tags = list(dict.fromkeys(entry.tag for entry in board.entries))
    mean = {tag: float(np.mean([by[tag, n] for n in names])) for tag in tags if all((tag, n) in by for n in names)}
    yield f"{metric}; the mean is over datasets, each counting once, and only for runs that answer all of them."
    yield ""
    yield "| run | " + " | ".join(names) + " | mean |"
    yield "|---" * (len(names) + 2) + "|"
    for tag in sorted(tags, key=lambda tag: (-mean.get(tag, -1.0), tag)):
        cells = " | ".join(f"{by[tag, name]:.4f}" if (tag, name) in by else "" for name in names)
        yield f"| {tag} | {cells} | {f'{mean[tag]:.4f}' if tag in mean else ''} |"


def _effect(entry: Entry, board: Board) -> str:
    if entry.effect is None:
        return "baseline" if entry.tag == board.baseline else "no baseline run"
    found = entry.effect
    return f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def _bar(effect: Comparison | None, widest: float) -> str:
    """A bar left of the line for worse, right of it for better."""
    if effect is None or widest == 0:
        return f"`{' ' * _HALF}|{' ' * _HALF}`"
    size = max(1, round(_HALF * abs(effect.difference) / widest)) if effect.difference else 0
    full = "█" * size
    left, right = (full.rjust(_HALF), " " * _HALF) if effect.difference < 0 else (" " * _HALF, full.ljust(_HALF))
    return f"`{left}|{right}`"


def _p(effect: Comparison | None) -> str:
    return "" if effect is None else f"{effect.p_holm:.3f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
