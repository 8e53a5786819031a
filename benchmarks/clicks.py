"""Learning from logs: position bias in worlds that know it, click models and learned rankers on RetroTech's sessions.

    python benchmarks/clicks.py [--quick] [--only worlds,models,sessions,queries] [--fresh]

Parts are kept under the workspace as they finish, so that a stopped run goes on; `--fresh` measures all again. Writes
docs/measured/clicks.json; `python benchmarks/page.py` shows it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from clicks_arms import (
    Arm,
    Bench,
    as_logged,
    counted,
    examination_by_harvest,
    popularity,
    position_based,
    rankers,
    simplified_dbn,
    vectors,
    words,
)
from clicks_measure import counts_by_query, expected_clicks, interval, ndcg_table, over_queries
from harness import HOME, Result, data_folder, versions, workspace

from itemspace.core.dataset import Dataset
from itemspace.core.interactions import Impressions
from itemspace.data.worlds import click_log, shop_world
from itemspace.evaluate.significance import bootstrap_means, permutation_p
from itemspace.rank.clicks import (
    Cascade,
    ClickModel,
    ClickThroughRate,
    DynamicBayesianNetwork,
    PositionBased,
    SimplifiedDBN,
    UserBrowsing,
    harvest_examination,
)
from itemspace.rank.clicks.base import CLIP

SEED = 0
FEW = 1_000
"""Sessions per query of the leave-query-out part: labels are per pair, and 50 showings of one say enough."""


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


# Worlds


def measure_worlds(quick: bool) -> dict[str, Any]:
    """The error of every estimate of examination in worlds that know it, per seed."""
    seeds = range(2 if quick else 5)
    rows = []
    for name, make in (
        ("demo shop, 20,000 lists", lambda seed: shop_world(lists=20_000, rng=seed)),
        ("demo shop, 100,000 lists", lambda seed: shop_world(lists=30_000 if quick else 100_000, rng=seed)),
        ("click log, 20,000 lists", lambda seed: click_log(20_000, rng=seed)),
        ("click log without bias", lambda seed: click_log(20_000, bias=0.0, rng=seed)),
    ):
        errors = []
        for seed in seeds:
            world = make(seed)
            truth = getattr(world.truth, "examination", None)
            truth = world.truth.propensities if truth is None else truth
            shown = world.data.impressions
            estimates = {
                "counted": ClickThroughRate(by="rank", prior=0.0).fit(shown).by_rank[:-1],
                "em": PositionBased().fit(shown).examination,
                "harvested": harvest_examination(shown).values,
            }
            errors.append([_error(values, truth) for values in estimates.values()])
            say(f"{name} seed {seed}: mean errors {np.round([e[0] for e in errors[-1]], 4).tolist()}")
        rows.append({"world": name, "errors": errors})
    return {"rows": rows, "seeds": len(seeds)}


def _error(values: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Mean and largest distance of examinations relative to the first place."""
    off = np.abs(values / values[0] - truth / truth[0])
    return float(off.mean()), float(off.max())


def publish_worlds(result: Result, found: dict[str, Any]) -> None:
    table, by_name = [], {}
    for row in found["rows"]:
        mean = np.array(row["errors"]).mean(0)
        worst = np.array(row["errors"])[:, :, 0].max(0)
        by_name[row["world"]] = worst
        table.append([row["world"], *(f"{m:.3f} (most {t:.3f})" for m, t in mean.tolist())])
    result.table(
        "Position bias recovered, in worlds that know it",
        ["world", "counted per rank", "position-based model (EM)", "interventions harvested"],
        table,
        f"Distance of the estimated from the true examination of each of ten places, relative to the first: mean over "
        f"places (and largest), averaged over {found['seeds']} seeds.",
    )
    shop, small = by_name["demo shop, 100,000 lists"], by_name["click log, 20,000 lists"]
    result.at_most("demo shop: mean error of examination, interventions, worst seed", shop[2], 0.03)
    result.at_most("demo shop: mean error of examination, EM, worst seed", shop[1], 0.03)
    result.at_most("click log: mean error of examination, interventions, worst seed", small[2], 0.03)
    result.at_most("click log: mean error of examination, EM, worst seed", small[1], 0.03)
    result.notes.append(
        "Most pairs of the demo shop are seen a few times each (20,000 lists show 51,000 pairs), and each has an "
        "attractiveness of its own: EM explains the clicks by these and leaves the examination near the rate of ranks. "
        "Interventions compare a pair only with itself."
    )
    result.at_least("click log: counting per rank errs more than EM, times, worst seeds", small[0] / small[1], 2.0)


# Click models


def measure_models(data: Dataset, quick: bool) -> dict[str, Any]:
    """Log-likelihood and perplexity of every model on held-out sessions."""
    train, test = parted(data.impressions, 0.7)
    models: dict[str, ClickModel] = {
        "one rate for all": ClickThroughRate(by="all"),
        "rate per rank": ClickThroughRate(by="rank"),
        "rate per pair (document CTR)": ClickThroughRate(),
        "cascade": Cascade(),
        "simplified DBN": SimplifiedDBN(),
        "dynamic Bayesian network": DynamicBayesianNetwork(iterations=8 if quick else 50),
        "user browsing": UserBrowsing(),
        "position-based": PositionBased(),
    }
    rows, logs = [], []
    for name, model in models.items():
        began = time.perf_counter()
        fit = model.fit(train).measure(test)
        took = time.perf_counter() - began
        logs.append(list_logs(model, test))
        rows.append(
            [name, fit.log_likelihood, fit.perplexity, fit.conditional, *fit.by_rank[[0, 1, 4, 9, 19]].tolist(), took]
        )
        say(f"{name}: log-likelihood {fit.log_likelihood:.4f}, perplexity {fit.perplexity:.4f}, {took:.1f} s")
    drawn = bootstrap_means(np.column_stack(logs))
    for place, row in enumerate(rows):
        row.append(interval(drawn[:, place] - drawn[:, -1], float((logs[place] - logs[-1]).mean())))
    position = models["position-based"]
    assert isinstance(position, PositionBased)
    harvested = [harvest_examination(part).values for part in (train, test)]
    biases = [position.examination.tolist(), *(values.tolist() for values in harvested)]
    return {"rows": rows, "bias": biases, "lists": [len(np.unique(p.request)) for p in (train, test)]}


def list_logs(model: ClickModel, shown: Impressions) -> np.ndarray:
    """The log of the chance of each list's clicks [lists]."""
    chance = np.clip(model.predict_next(shown), CLIP, 1 - CLIP)
    logs = np.log(np.where(shown.outcome > 0, chance, 1 - chance))
    return np.bincount(np.unique(shown.request, return_inverse=True)[1].reshape(-1), logs)


def publish_models(result: Result, found: dict[str, Any]) -> None:
    told = [[*row[:-1], f"[{row[-1][0]:+.4f}, {row[-1][1]:+.4f}]"] for row in found["rows"]]
    train, test = found["lists"]
    result.table(
        "Click models on RetroTech, held-out sessions",
        ["model", "log-likelihood a list", "perplexity", "given clicks above", "rank 1", "rank 2", "rank 5", "rank 10", "rank 20",
         "seconds", "log-likelihood less position-based, 95%"],
        told,
        f"Fitted on {train:,} sessions, measured on {test:,}, parted at random (the sessions have no times). Perplexity is "
        "the mean over ranks; 1 is perfect. Intervals resample sessions.",
    )  # fmt: skip
    em, train_bias, test_bias = (np.array(values) for values in found["bias"])
    places = [0, 1, 2, 4, 9, 14, 19, 24, 29]
    result.table(
        "Position bias of RetroTech",
        ["rank", *(str(p + 1) for p in places)],
        [["position-based model (EM)", *em[places].tolist()], ["interventions, training sessions", *train_bias[places].tolist()],
         ["interventions, held-out sessions", *test_bias[places].tolist()]],
        "Relative to the first rank. The sessions are simulated: what made them looks at rank r about 1 / r as often.",
    )  # fmt: skip
    by_name = {row[0]: row for row in found["rows"]}
    result.at_most(
        "RetroTech: mean distance of EM's and harvested examination", float(np.nanmean(np.abs(em - train_bias))), 0.02
    )
    result.at_least(
        "RetroTech: log-likelihood, position-based over rate per pair, lower end of 95%",
        -by_name["rate per pair (document CTR)"][-1][1],
        0.0,
    )


# Rankers


def parted(shown: Impressions | None, share: float, seed: int = SEED) -> tuple[Impressions, Impressions]:
    """Sessions in two, at random within each query."""
    assert shown is not None
    assert shown.query is not None
    request, first = np.unique(shown.request, return_index=True)
    key = np.random.default_rng(seed).random(len(request))
    order = np.lexsort((key, shown.query[first]))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    query = shown.query[first]
    starts = np.concatenate(([0], np.cumsum(np.bincount(query))))
    inside = (place - starts[query]) < share * np.bincount(query)[query]
    mask = inside[np.searchsorted(request, shown.request)]
    return shown.take(mask), shown.take(~mask)


def measure_sessions(bench: Bench, quick: bool) -> dict[str, Any]:
    """Every arm on sessions held out of queries that it knows."""
    train, test = parted(bench.data.impressions, 0.7)
    if quick:
        train = parted(train, 0.2, 1)[0]
    inner, valid = parted(train, 0.8, 2)
    queries = np.arange(len(bench.candidates))
    folds = [(inner, bench.relevance(valid), queries)]
    arms = [words(bench), vectors(bench), popularity(bench), as_logged(bench), counted(bench), simplified_dbn(bench),
            position_based(bench), *rankers(bench, "lists")]  # fmt: skip
    scores, chosen = {}, {}
    for arm in arms:
        began = time.perf_counter()
        setting, tried = arm.tuned(bench, folds)
        scores[arm.name], chosen[arm.name] = arm.score(train, setting), {"setting": setting, "tried": tried}
        say(f"sessions: {arm.name} {setting}, validation {max(tried):.4f}, {time.perf_counter() - began:.1f} s")
    looked = examination_by_harvest(test)
    counts = counts_by_query(test, bench.candidates, looked)
    values, drawn = ndcg_table(scores, counts, bench.candidates, bench.data.catalog.ids.ties)
    model = PositionBased().fit(train)
    query = np.repeat(queries, bench.candidates.shape[1])
    attractive = model.attraction(query, np.maximum(bench.candidates, 0).ravel()).reshape(bench.candidates.shape)
    clicks = expected_clicks(scores, test, bench.data.impressions, bench.candidates, attractive, model.examination)
    return {
        "arms": list(scores),
        "ndcg": values.tolist(),
        "drawn": drawn.tolist(),
        "chosen": chosen,
        "clicks": clicks,
        "lists": [len(np.unique(part.request)) for part in (train, test)],
    }


def measure_queries(bench: Bench, quick: bool, fresh: bool) -> dict[str, Any]:
    """Every arm on each query after learning from the others only."""
    shown = bench.data.impressions
    assert shown is not None
    assert shown.query is not None
    few, _ = parted(shown, (200 if quick else FEW) / 5_000, 3)
    relevance = bench.relevance(shown)  # the held-out query's own sessions, all of them
    arms: list[Arm] = [words(bench), vectors(bench), popularity(bench), *rankers(bench, "queries")]
    found = []
    for held in range(len(bench.candidates)):
        one = kept(f"query-{held}", quick, fresh, lambda held=held: held_out(bench, arms, few, relevance, held))
        told = ", ".join(f"{arm.name} {value:.3f}" for arm, value in zip(arms, one["ndcg"], strict=True))
        say(f'queries: "{shown.queries[held]}" {told}')
        found.append(one)
    return {
        "arms": [a.name for a in arms],
        "ndcg": [one["ndcg"] for one in found],
        "chosen": [o["chosen"] for o in found],
    }


def held_out(bench: Bench, arms: list[Arm], few: Impressions, relevance: np.ndarray, held: int) -> dict[str, Any]:
    """nDCG@10 of every arm on one query, tuned over three parts of the others and learned from them."""
    assert few.query is not None
    queries = np.arange(len(bench.candidates))
    train = few.take(few.query != held)
    parts = np.array_split(np.random.default_rng(held).permutation(queries[queries != held]), 3)
    folds = [(train.take(~np.isin(train.query, part)), relevance, part) for part in parts]
    settings = [arm.tuned(bench, folds)[0] for arm in arms]
    values = [
        float(bench.ndcg(arm.score(train, setting), relevance)[held])
        for arm, setting in zip(arms, settings, strict=True)
    ]
    return {"ndcg": values, "chosen": [str(setting) for setting in settings]}


def publish_sessions(result: Result, found: dict[str, Any]) -> None:
    names, values, drawn = found["arms"], np.array(found["ndcg"]), np.array(found["drawn"])
    across = over_queries(values)
    rows = []
    for place, name in enumerate(names):
        low, high = interval(drawn[:, place], values[:, place].mean())
        wide = interval(across[:, place], values[:, place].mean())
        robust = found["clicks"]["doubly-robust"][name]
        snips = found["clicks"]["self-normalized"][name]
        rows.append([
            name, f"{values[:, place].mean():.4f} [{low:.4f}, {high:.4f}]", f"[{wide[0]:.3f}, {wide[1]:.3f}]",
            *(f"{v[0]:.4f} [{v[1]:.4f}, {v[2]:.4f}]" for v in (snips, robust)), str(found["chosen"][name]["setting"]),
        ])  # fmt: skip
    train, test = found["lists"]
    result.table(
        "Re-ranking RetroTech: sessions held out of known queries",
        ["arm", "nDCG@10, 95% over sessions", "95% over the 13 queries", "clicks@10, self-normalized IPS", "clicks@10, doubly robust", "setting"],
        rows,
        f"The items shown for a query in the order of each arm; learned on {train:,} sessions, measured on {test:,}. "
        "Gains are clicks per exposure in the held-out sessions, exposure by the examination harvested from them. "
        "Settings (six an arm, where there are any) were chosen on a fifth of the training sessions. Clicks are expected "
        "clicks at the first ten places, estimated from the held-out lists in which an item stood where the arm puts it.",
    )  # fmt: skip
    for learned in ("LambdaMART", "neural scorer"):
        for other in ("bm25", "popularity", "as logged", "click rate", "position-based model"):
            one, two = names.index(learned), names.index(other)
            low = interval(drawn[:, one] - drawn[:, two], (values[:, one] - values[:, two]).mean())[0]
            result.at_least(
                f"known queries: nDCG@10, {learned} less {other}, lower end of 95% over sessions",
                low,
                0.0,
            )


def publish_queries(result: Result, found: dict[str, Any]) -> None:
    names, values = found["arms"], np.array(found["ndcg"])
    across = over_queries(values)
    rows = []
    for place, name in enumerate(names):
        low, high = interval(across[:, place], values[:, place].mean())
        less = values[:, place] - values[:, 0]
        p = float(permutation_p(less[:, None])[0]) if place else float("nan")
        wins = f"{int((less > 0).sum())} : {int((less < 0).sum())}"
        rows.append([name, f"{values[:, place].mean():.4f} [{low:.3f}, {high:.3f}]", f"{less.mean():+.4f}" if place else "-",
                     wins if place else "-", f"{p:.3f}" if place else "-"])  # fmt: skip
    result.table(
        "Re-ranking RetroTech: queries never seen",
        ["arm", "nDCG@10, 95% over queries", "less bm25", "won : lost", "p (permutation)"],
        rows,
        "Each of the 13 queries in turn is left out of learning and of tuning; the gains are those of all its sessions. "
        "Thirteen queries can only show large differences.",
    )
    for learned in ("LambdaMART", "neural scorer"):
        for other in ("bm25", "popularity"):
            one, two = names.index(learned), names.index(other)
            low = interval(across[:, one] - across[:, two], (values[:, one] - values[:, two]).mean())[0]
            result.at_least(
                f"new queries: nDCG@10, {learned} less {other}, lower end of 95% over queries",
                low,
                0.0,
            )


def kept(name: str, quick: bool, fresh: bool, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A part's findings: from the workspace, or measured now and kept there."""
    path = workspace("clicks") / f"{name}{'-quick' if quick else ''}.json"
    if path.exists() and not fresh:
        say(f"{name}: kept from {path}")
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    began = time.perf_counter()
    found = make()
    path.write_text(json.dumps(found))
    say(f"{name}: {time.perf_counter() - began:.0f} s")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller worlds and logs; writes to the workspace only")
    parser.add_argument("--only", default="worlds,models,sessions,queries")
    parser.add_argument("--fresh", action="store_true", help="measure again what is kept")
    options = parser.parse_args()
    wanted = options.only.split(",")
    result = Result(
        "clicks",
        "Learning from logs",
        0,
        "python benchmarks/clicks.py",
        f"RetroTech (46,175 products that have or were shown an ID, 13 queries of 5,000 simulated sessions each, 1,775,000 "
        f"impressions); planted worlds. Seed {SEED}, one thread.",
        versions("lightgbm", "torch", "numpy"),
    )
    quick, fresh = options.quick, options.fresh
    made: dict[str, Any] = {}

    def data() -> Dataset:
        if "data" not in made:
            made["data"] = Dataset.read("retrotech", root=data_folder())
            say(f"read {made['data'].catalog}")
        read: Dataset = made["data"]
        return read

    def bench() -> Bench:
        if "bench" not in made:
            made["bench"] = Bench.of(data(), 64 if quick else 256)
            say(f"features: {', '.join(made['bench'].features.names)}")
        ready: Bench = made["bench"]
        return ready

    parts: dict[str, tuple[Callable[[], dict[str, Any]], Callable[[Result, dict[str, Any]], None]]] = {
        "worlds": (lambda: measure_worlds(quick), publish_worlds),
        "models": (lambda: measure_models(data(), quick), publish_models),
        "sessions": (lambda: measure_sessions(bench(), quick), publish_sessions),
        "queries": (lambda: measure_queries(bench(), quick, fresh), publish_queries),
    }
    for name, (measure, publish) in parts.items():
        if name in wanted:
            publish(result, kept(name, quick, fresh, measure))
    result.publish(workspace("clicks") if quick else HOME / "docs" / "measured")


if __name__ == "__main__":
    main()
