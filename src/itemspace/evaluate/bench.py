"""`Bench` and `System`: where a published system is measured, and what it consists of."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from itemspace.core.contracts import Budget, Retriever
from itemspace.core.dataset import Dataset
from itemspace.core.errors import RequestError
from itemspace.core.task import Task
from itemspace.evaluate.claims import PLACES, Claim, Outcome, Place
from itemspace.evaluate.evaluation import Evaluation, evaluate


@dataclass(frozen=True)
class System:
    """One published system: composition, claims, nothing else.

    title: verbatim. slug: names the file and the command. family: the folder it lies in. build: (Dataset, config) to a
    component that can be served. check: measures every claim's arms on a `Bench`, in the place it stands for.
    claims: one per clause of what the system promises, in order. real: what the real data are, by name.
    """

    title: str
    slug: str
    year: int
    family: str
    build: Callable[..., Any]
    check: Callable[[Bench], None]
    claims: tuple[Claim, ...]
    real: str = ""


@dataclass
class Bench:
    """One place of measurement: the same check runs in the positive world, the null world and on real data.

    place: which. seeds: one value per seed and arm is recorded for each. quick: a check of at most three seconds.
    budget: what each arm may spend on a fit. data: the folder with real data sets, None where there is none.
    """

    place: Place
    seeds: tuple[int, ...]
    quick: bool = False
    budget: Budget = field(default_factory=Budget)
    data: Path | None = None
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    spent: dict[str, dict[str, float]] = field(default_factory=dict)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    absent: str = ""

    @property
    def randomness(self) -> float:
        """The dial of a planted world: 0 where the mechanism must help, 1 where nothing can be learned."""
        return 1.0 if self.place == "null" else 0.0

    def measure(self, arm: str, **metrics: float) -> None:
        """Record an arm's values for the next seed; write a metric such as ndcg@10 with `record`."""
        self.record(arm, metrics)

    def record(self, arm: str, metrics: Mapping[str, float]) -> None:
        """Record an arm's values for the next seed, by metric."""
        mine = self.values.setdefault(arm, {})
        for name, value in metrics.items():
            mine.setdefault(name, []).append(float(value))

    def evaluate(
        self, arm: str, retriever: Retriever, task: Task, metrics: Iterable[str], **options: Any
    ) -> Evaluation:
        """Evaluate an arm on a task through its public search and record the means, companions included."""
        found = evaluate(retriever, task, metrics, name=arm, **options)
        self.record(arm, {name: found[name] for name in (*found.values, *found.whole)})
        return found

    def spend(self, arm: str, **amounts: float) -> None:
        """Add to what an arm has used of its budget: seconds, epochs, trials."""
        mine = self.spent.setdefault(arm, {})
        for name, amount in amounts.items():
            mine[name] = mine.get(name, 0.0) + float(amount)

    def used(self, dataset: Dataset, **facts: Any) -> None:
        """Record which data were measured on."""
        print_ = dataset.fingerprint
        if not any(one["data"] == print_ for one in self.inputs):
            self.inputs.append({"name": dataset.name, "data": print_, "items": len(dataset.catalog), **facts})

    def note(self, text: str) -> None:
        """Something a reader of the finding must know."""
        if text not in self.notes:
            self.notes.append(text)

    def skip(self, why: str) -> None:
        """Nothing can be measured here; every claim says why."""
        self.absent = why

    def latency(self, retriever: Retriever, task: Task, k: int = 10, *, at_most: int = 200) -> dict[str, float]:
        """Milliseconds a single request takes, asked one at a time: "p50-ms" and "p95-ms" over `at_most` requests."""
        requests = task.prepared()
        retriever.search(requests.take(np.array([0])), k)  # the first request pays for what is loaded once
        times = []
        for i in range(min(len(task), at_most)):
            one = requests.take(np.array([i]))
            began = time.perf_counter()
            retriever.search(one, k)
            times.append((time.perf_counter() - began) * 1000)
        return {"p50-ms": float(np.percentile(times, 50)), "p95-ms": float(np.percentile(times, 95))}


@dataclass(frozen=True)
class Run:
    """A system's measurements in the places it was run in, and what they say of its claims."""

    system: System
    benches: Mapping[str, Bench]
    seconds: Mapping[str, float]

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The verdict of every claim, in order. The harness's, from the recorded values alone."""
        return tuple(
            Outcome(claim, {place: claim.judge(b.values, b.absent) for place, b in self.benches.items()})
            for claim in self.system.claims
        )


def run_check(
    system: System,
    *,
    places: Sequence[Place] = PLACES,
    seeds: Sequence[int] | None = None,
    quick: bool = False,
    budget: Budget | None = None,
    data: str | Path | None = None,
) -> Run:
    """Run a system's check in the places asked for.

    seeds: by default 0 to 4, or 0 to 2 for a quick check. data: the folder with real data sets; without it the real
    place is not measured.

    Raises:
        RequestError: no such place.
    """
    chosen = tuple(seeds) if seeds is not None else tuple(range(3 if quick else 5))
    benches: dict[str, Bench] = {}
    seconds: dict[str, float] = {}
    for place in places:
        if place not in PLACES:
            raise RequestError(f'no place "{place}"; places are {", ".join(PLACES)}.')
        bench = Bench(place, chosen, quick, budget or Budget(), None if data is None else Path(data))
        began = time.perf_counter()
        if place == "real" and data is None:
            bench.skip("no folder of real data was given")
        else:
            system.check(bench)
        benches[place], seconds[place] = bench, time.perf_counter() - began
    return Run(system, benches, seconds)
