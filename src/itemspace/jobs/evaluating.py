"""Measuring a Space: the arms are fitted and asked by workers, the report is made of their answers."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from itemspace.core.asking import check_k
from itemspace.core.contracts import Retriever
from itemspace.core.dataset import Dataset
from itemspace.core.files import as_path, load_array, read_json, write_json_atomic
from itemspace.core.hits import Hits
from itemspace.core.keeping import open_part, save_part
from itemspace.data.splits.base import Split
from itemspace.evaluate import Evaluation, evaluate_hits
from itemspace.evaluate.evaluation import choose_depth, choose_metrics, is_search
from itemspace.jobs.answering import pinned
from itemspace.jobs.chunks import Chunk, Phase
from itemspace.jobs.folder import Job, job_folder
from itemspace.jobs.training import fit_part
from itemspace.jobs.work import Work
from itemspace.space import Space
from itemspace.space import evaluation as trials

CHUNK_ROWS = 1_024
"""Requests of a chunk: as many as a local evaluation asks at a time."""
_MAIN = "recommender"


def plan_evaluate(space: str | Path | Space, out: str | Path, *, k: int = 10, job: str | Path | None = None) -> Job:
    """A job that measures a Space as `Space.evaluate` does, and writes its reports to the JSON file `out`.

    Raises:
        RequestError: there is nothing to measure against.
    """
    check_k(k)
    home = job_folder(out, job)
    opened = space if isinstance(space, Space) else Space.open(space)
    try:
        data = opened.dataset()
        phases = []
        if trials.can_search(data):
            task = trials.search_trial(opened, data, k).task
            phases.append(Phase("search", len(task), CHUNK_ROWS, tuple(trials.search_arms(opened))))
        if trials.can_recommend(opened, data):
            arms = (_MAIN, *trials.BASELINES)
            phases.append(Phase("fit", 1, 1, arms, "folder"))
            phases.append(Phase("recommendation", len(trials.held_out(data).test), CHUNK_ROWS, arms))
        trials.check_any([phase.name for phase in phases])
        options = {
            "space": str(opened.path.absolute()), "k": k, "generation": opened.generation, "version": opened.version,
            "drifting": False,
        }  # fmt: skip
        return Job.plan(home, Evaluate.PATH, [data.fingerprint], options, as_path(out), lambda _: phases)
    finally:
        if opened is not space:
            opened.close()


class Evaluate(Work):
    """Requests with known answers to hits, and hits to reports."""

    PATH = "itemspace.jobs.evaluating:Evaluate"

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.space = pinned(job.options)
        self.k = int(job.options["k"])
        self._retrievers: dict[str, Retriever] = {}

    def close(self) -> None:
        self.space.close()

    @cached_property
    def data(self) -> Dataset:
        """What the Space holds."""
        return self.space.dataset()

    @cached_property
    def split(self) -> Split:
        """Its events, the last set aside."""
        return trials.held_out(self.data)

    @cached_property
    def _trials(self) -> dict[str, trials.Trial]:
        made = {}
        for phase in self.job.phases:
            if phase.name == "search":
                made["search"] = trials.search_trial(self.space, self.data, self.k)
            elif phase.name == "recommendation":
                made["recommendation"] = trials.recommendation_trial(self.space, self.data, self.split, self.k)
        return made

    def fit(self, chunk: Chunk, folder: Path, scratch: Path) -> None:
        if chunk.label == _MAIN:
            fit_part(_MAIN, self.split.train, self.space.recipe, folder, scratch)
            return
        model = trials.BASELINES[chunk.label]()
        model.fit(self.split.train, rng=self.space.recipe.seed)
        save_part(model, folder)

    def make(self, chunk: Chunk) -> np.ndarray:
        """Rows and the bits of scores of the hits, int32 [requests, 2, depth]."""
        task = self._trials[chunk.phase].task
        depth, rows = self._depth(chunk.phase), np.arange(chunk.start, chunk.stop)
        where = None if task.candidates is None else task.candidates.take(rows)
        hits = self._retriever(chunk.phase, chunk.label).search(task.prepared().take(rows), depth, where=where)
        found = Hits.empty(len(rows), depth)
        width = min(depth, hits.k)
        found.rows[:, :width], found.scores[:, :width] = hits.rows[:, :width], hits.scores[:, :width]
        return np.stack([found.rows, found.scores.view(np.int32)], axis=1)

    def _depth(self, name: str) -> int:
        trial = self._trials[name]
        asked, companions = choose_metrics(trial.task, trial.metrics, trial.items)
        return choose_depth(asked + companions, is_search(trial.task))

    def _retriever(self, name: str, label: str) -> Retriever:
        if name == "search":
            return self.space.retriever(label)
        if label not in self._retrievers:
            phase = self.job.phase("fit")
            made = open_part(self.job.output(phase[phase.labels.index(label)]))
            self._retrievers[label] = made.bind(self.data.catalog)
        return self._retrievers[label]

    def names(self, chunk: Chunk) -> list[str]:
        return [f"request {row + 1:,}" for row in range(chunk.start, chunk.stop)]

    def finish(self) -> dict[str, Any]:
        reports = {}
        for name, trial in self._trials.items():
            arms = {label: self._evaluation(name, label) for label in self.job.phase(name).labels}
            if name == "recommendation":
                arms = self._named(arms)
            baseline = next(iter(arms)) if name == "search" else trials.main_baseline(arms)
            reports[name] = trial.report(arms, baseline)
        if "search" in reports:
            reports |= trials.of_filters(self.space, self.data, self.k)
        told = {name: json.loads(report.to_json()) for name, report in reports.items()}
        self.job.out.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(self.job.out, told)
        return {"rows": sum(len(trial.task) for trial in self._trials.values()), "reports": sorted(told)}

    def _evaluation(self, name: str, label: str) -> Evaluation:
        trial = self._trials[name]
        both = np.concatenate([load_array(path) for path in self.job.outputs(name, label)])
        hits = Hits(np.ascontiguousarray(both[:, 0]), np.ascontiguousarray(both[:, 1]).view(np.float32))
        return evaluate_hits(hits, trial.task, trial.metrics, items=trial.items, name=label)

    def _named(self, arms: dict[str, Evaluation]) -> dict[str, Evaluation]:
        """The recipe's recommender under its own name; a baseline of its kind would be it once more."""
        phase = self.job.phase("fit")
        folder = self.job.output(phase[phase.labels.index(_MAIN)])
        part = self.space.recipe.recommender
        assert part is not None
        name = read_json(folder / "choice.json")["name"] if (folder / "choice.json").exists() else part.name
        kind = type(open_part(folder))
        kept = {label: arms[label] for label, base in trials.BASELINES.items() if not issubclass(kind, base)}
        return {name: arms[_MAIN], **kept}
