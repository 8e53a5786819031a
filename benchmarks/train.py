"""Training speed of SASRec on Amazon Beauty beside RecBole's, an epoch of each in turn.

    python benchmarks/train.py --recbole-python VENV/bin/python --full

Both train the same sizes (width 64, 2 layers, 2 heads, inner 256, dropout .5, length 50) with full cross-entropy on the
same leave-one-out training part, and supervise the same 131,413 positions per epoch: RecBole as that many prefixes in
batches of 2,048, itemspace as packed histories in batches of 256. Every arm is a process of its own that waits for its
turn. RecBole runs as installed and at its best setting here: a few batches under every candidate (kept malloc pages, huge
pages, its own bfloat16 option, and their combinations) choose the quickest, which then runs whole epochs. --full adds one
whole training of ours with early stopping. The number of epochs RecBole needs to its best is read from
docs/benchmarks/recbole-beauty-curve.json, made by one kept run of `benchmarks/recbole_driver.py`. --quick is a smoke run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from harness import RESULTS, Result, Timing, data_folder, peak_mb, ratio, versions, workspace

CURVE = RESULTS / "recbole-beauty-curve.json"
KEPT_PAGES = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 40),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": "67108864",
}
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
CANDIDATES: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "as installed": ({}, ()),
    "kept pages": (KEPT_PAGES, ()),
    "kept huge pages": (KEPT_PAGES | HUGE_PAGES, ()),
    "enable_amp": ({}, ("enable_amp=true",)),
    "kept pages, enable_amp": (KEPT_PAGES, ("enable_amp=true",)),
    "kept huge pages, enable_amp": (KEPT_PAGES | HUGE_PAGES, ("enable_amp=true",)),
}
"""RecBole's settings that change its speed and not what it learns: environment, and its own options."""
OURS = {"full softmax": "softmax", "sampled softmax, 512 negatives": "sampled-softmax"}
SETTINGS: dict[str, Any] = {"evaluate_every": 2, "patience": 4}


class Arm:
    """A process that trains an epoch whenever it is told to."""

    def __init__(self, command: list[str], environment: dict[str, str], threads: int) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
        clean |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)} | environment
        self.log = open(workspace("train") / "arms.log", "a")  # noqa: SIM115 (held as long as the process)
        self.process = subprocess.Popen(
            command, env=clean, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        self.about = self.answer()

    def ask(self, what: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"An arm ended early; see {self.log.name}.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        self.log.close()


def recbole(options: argparse.Namespace, setting: str, batches: int | None = None) -> Arm:
    environment, settings = CANDIDATES[setting]
    driver = Path(__file__).with_name("recbole_driver.py")
    command = [str(options.recbole_python), str(driver), "--threads", str(options.threads)]
    command += [
        "--sequences",
        str(data_folder() / "amazon-beauty" / "Beauty.txt"),
        "--folder",
        str(workspace("recbole")),
    ]
    command += [word for setting in settings for word in ("--set", setting)]
    # RecBole's interpreter must not see this one's paths.
    return Arm(
        command + ([] if batches is None else ["--batches", str(batches)]),
        environment | {"PYTHONPATH": ""},
        options.threads,
    )


def ours(options: argparse.Namespace, loss: str, *, full: bool = False) -> Arm:
    command = [sys.executable, __file__, "--arm", loss, "--threads", str(options.threads)]
    command += ["--full"] if full else []
    return Arm(command + (["--quick"] if options.quick else []), {}, options.threads)


def serve(loss: str, threads: int, *, full: bool, quick: bool) -> None:
    """Be an arm: our training, one epoch per line of input; with `full`, one whole training on the first line."""
    import torch

    from itemspace.core.contracts import Budget
    from itemspace.recommend.sasrec import SASRec
    from recommend import leave_one_out_of, measure

    torch.set_num_threads(threads)
    split = leave_one_out_of(data_folder(), "beauty")
    events = split.train.interactions
    assert events is not None
    model = SASRec(**SETTINGS, loss=loss)
    mark = [0.0, 0.0]
    curve: list[tuple[int, float, float | None]] = []

    def tell(**answer: Any) -> None:
        print(json.dumps(answer | {"peak_mb": peak_mb()}), flush=True)

    def wait() -> None:
        if not sys.stdin.readline():
            raise SystemExit(0)
        mark[:] = [time.perf_counter(), time.process_time()]

    def after(epoch: int, mean: float, figure: float | None, seconds: float) -> None:
        if full:
            curve.append((epoch, time.perf_counter() - mark[0], figure))
            print(f"epoch {epoch} loss {mean:.4f} valid {figure} {seconds:.2f} s", file=sys.stderr, flush=True)
        else:
            tell(seconds=seconds, cpu_seconds=time.process_time() - mark[1], loss=mean)
            wait()

    model.on_epoch = after
    tell(ready=True, targets=len(events.item) - len(events.histories), items=len(events.items))
    wait()
    if not full:
        model.fit(split.train, budget=Budget(epochs=1_000_000), rng=0)
        return
    report = model.fit(split.train, valid=split.valid, budget=Budget(epochs=2) if quick else None, rng=0)
    passes = []
    for _ in range(5):
        began = time.perf_counter()
        model.validate(split.valid)
        passes.append(time.perf_counter() - began)
    figures = {"valid": measure(model, split.valid), "test": measure(model, split.test)}
    tell(
        curve=curve, best_epoch=report.best_epoch, epochs=report.epochs, validation_seconds=sorted(passes)[2], **figures
    )


def quickest(options: argparse.Namespace) -> tuple[str, dict[str, float]]:
    """The candidate whose batches take least, and seconds per batch of all of them (the best of three turns each)."""
    batches = 1 if options.quick else 4
    seconds: dict[str, float] = {}
    for name in CANDIDATES:
        arm = recbole(options, name, batches)
        arm.ask("epoch")
        turns = [arm.ask("epoch")["seconds"] / batches for _ in range(1 if options.quick else 3)]
        arm.end()
        seconds[name] = min(turns)
        print(f"  RecBole, {name}: {seconds[name]:.3g} s per batch", file=sys.stderr, flush=True)
    return min(seconds, key=lambda name: seconds[name]), seconds


def in_turns(arms: dict[str, Arm], rounds: int, warm: set[str]) -> tuple[dict[str, Timing], dict[str, dict[str, Any]]]:
    """Every arm an epoch per round; those in `warm` train one untimed epoch first."""
    for name in warm:
        arms[name].ask("epoch")
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
    for turn in range(rounds):
        for name in list(arms)[turn % len(arms) :] + list(arms)[: turn % len(arms)]:
            taken[name].append(arms[name].ask("epoch"))
            print(
                f"  round {turn + 1}/{rounds} {name}: {taken[name][-1]['seconds']:.4g} s", file=sys.stderr, flush=True
            )
    times = {
        name: Timing(tuple(a["seconds"] for a in answers), tuple(a["cpu_seconds"] for a in answers))
        for name, answers in taken.items()
    }
    return times, {name: answers[-1] for name, answers in taken.items()}


def epochs(options: argparse.Namespace) -> dict[str, Any]:
    """Every arm's epochs in turns: what `tell_epochs` shows. RecBole is under "RecBole" and "RecBole best"."""
    best, seconds = quickest(options)
    batches = 2 if options.quick else None
    arms = {"RecBole": recbole(options, "as installed", batches), "RecBole best": recbole(options, best, batches)}
    arms |= {name: ours(options, loss) for name, loss in OURS.items()}
    rounds = 1 if options.quick else options.rounds
    times, last = in_turns(arms, rounds, set(OURS))
    # A smoke run trains two batches of RecBole's and says what 65 would take.
    scale = 131_413 / (2 * 2048) if options.quick else 1.0
    times = {
        name: Timing(tuple(w * scale for w in t.wall), tuple(c * scale for c in t.cpu))
        if name.startswith("RecBole")
        else t
        for name, t in times.items()
    }
    for arm in arms.values():
        arm.end()
    return {
        "candidates": seconds,
        "best": best,
        "rounds": rounds,
        "arms": {
            name: {
                "wall": times[name].wall,
                "cpu": times[name].cpu,
                "targets": arm.about["targets"],
                "peak_mb": last[name]["peak_mb"],
            }
            for name, arm in arms.items()
        },
    }


def tell_epochs(options: argparse.Namespace, result: Result, measured: dict[str, Any]) -> dict[str, Timing]:
    """Seconds per epoch of all arms, with verdicts; returns the timings."""
    result.table(
        "RecBole's candidates", ["setting", "seconds per batch of 2,048"], list(measured["candidates"].items())
    )
    times = {name: Timing(tuple(arm["wall"]), tuple(arm["cpu"])) for name, arm in measured["arms"].items()}
    shown = {"RecBole best": f"RecBole, {measured['best']}", "RecBole": "RecBole, as installed"}
    rows = []
    for name, arm in measured["arms"].items():
        taken, cpu = times[name].seconds, times[name].cpu_seconds
        rows.append([shown.get(name, name), taken, cpu, arm["targets"] / taken, arm["targets"], arm["peak_mb"]])
    result.table(
        "Seconds per epoch",
        ["arm", "seconds", "CPU seconds", "positions/s", "supervised positions", "peak memory MB"],
        rows,
        f"Median of {measured['rounds']} epochs, the arms taking turns; {options.threads} threads.",
    )
    mine = times["full softmax"]
    result.at_least("an epoch is so many times shorter than RecBole's as installed", ratio(times["RecBole"], mine), 40)
    result.at_least(
        "an epoch is so many times shorter than RecBole's at its best setting", ratio(times["RecBole best"], mine), 25
    )
    result.at_least("supervised positions per epoch, ours over RecBole's", rows[2][4] / rows[0][4], 1)
    result.at_most("peak memory, ours over RecBole's best", rows[2][5] / rows[1][5], 1)
    return times


def whole(options: argparse.Namespace) -> dict[str, Any]:
    """One whole training of ours."""
    arm = ours(options, "softmax", full=True)
    told = arm.ask("full")
    arm.end()
    return told


def tell_whole(result: Result, told: dict[str, Any], times: dict[str, Timing]) -> None:
    """Its quality, and time to it beside RecBole's."""
    figures = [told[part][m] for part in ("valid", "test") for m in ("recall@10", "ndcg@10")]
    result.table(
        "A whole training of ours",
        ["best epoch", "epochs", "validation pass, s", "valid R@10", "valid N@10", "test R@10", "test N@10"],
        [[told["best_epoch"], told["epochs"], told["validation_seconds"], *figures]],
        "Seed 0, validation every second epoch, stopped after four without a better one.",
    )
    result.at_most(
        "a validation pass over 22,363 users and the whole catalogue, seconds", told["validation_seconds"], 1.0
    )
    result.at_least("test NDCG@10 (three seeds before these speed-ups: .0561)", told["test"]["ndcg@10"], 0.0545)
    spent = {epoch: seconds for epoch, seconds, _ in told["curve"]}
    rows: list[list[Any]] = [
        ["itemspace, to its best", told["best_epoch"], spent[told["best_epoch"]], figures[1], figures[3]]
    ]
    if CURVE.exists():
        kept = json.loads(CURVE.read_text())
        count, score = kept["best_epoch"], max(e["valid_ndcg@10"] for e in kept["epochs"])
        passed = next(((e, s, v) for e, s, v in told["curve"] if v is not None and v >= score), None)
        if passed is not None:
            rows.append(["itemspace, to RecBole's best", passed[0], passed[1], passed[2], None])
        for name, shown in (("RecBole", "RecBole, as installed"), ("RecBole best", "RecBole, best setting")):
            test = next((v for k, v in kept.get("test", {}).items() if k.lower() == "ndcg@10"), None)
            rows.append([shown, count, count * times[name].seconds, score, test])
        needed = rows[1][2] if passed is not None else float("inf")
        result.at_least(
            "time to RecBole's best validation NDCG@10, RecBole at its best setting over ours",
            count * times["RecBole best"].seconds / needed,
            25,
        )
    else:
        result.notes.append(f"No kept run of RecBole ({CURVE.name}): time to quality is ours alone.")
    result.table(
        "Time to quality",
        ["arm", "epochs", "seconds", "valid N@10", "test N@10"],
        rows,
        "Ours is measured, validation included. RecBole's is its kept run's epochs to its best times its epoch measured "
        "here, without its validation.",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recbole-python", type=Path, help="an interpreter that has recbole 1.2.1")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="also one whole training of ours")
    parser.add_argument(
        "--again", action="store_true", help="keep the epochs measured last; with --full, one more training"
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run; its result is not published")
    parser.add_argument("--arm", choices=list(OURS.values()), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        return serve(options.arm, options.threads, full=options.full, quick=options.quick)
    if options.recbole_python is None:
        parser.error("--recbole-python must name an interpreter that has recbole 1.2.1")
    asked = "import importlib.metadata as m; print(m.version('recbole'))"
    found = subprocess.run([str(options.recbole_python), "-c", asked], capture_output=True, text=True, check=True)
    result = Result(
        "train",
        "Training SASRec on Amazon Beauty",
        1,
        "python benchmarks/train.py --recbole-python VENV/bin/python --full",
        f"{options.threads} threads, full cross-entropy over 12,101 items, width 64, 2 layers, 2 heads, inner 256, dropout .5, "
        "length 50. RecBole: batches of 2,048 prefixes; itemspace: packed batches of 256 histories. Processes of their own "
        "train an epoch each in turn; wall seconds of the epoch alone, without validation.",
        {"recbole": found.stdout.strip()} | versions("torch"),
    )
    kept = workspace("train") / ("quick.json" if options.quick else "measured.json")
    measured = json.loads(kept.read_text()) if options.again else {"epochs": epochs(options)}
    if options.full:
        measured["whole"] = whole(options)
    kept.write_text(json.dumps(measured))
    times = tell_epochs(options, result, measured["epochs"])
    if "whole" in measured:
        tell_whole(result, measured["whole"], times)
    result.publish(workspace("quick") if options.quick else RESULTS)
    return None


if __name__ == "__main__":
    main()
