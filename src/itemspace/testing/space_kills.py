"""SIGKILL at random moments: a child process builds or changes a Space, the parent kills it and looks at what is left.

The child says each change before it makes it and again once it is acknowledged. What is left must equal every
acknowledged change, and either all or nothing of the one that was under way.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itemspace.core.dataset import Dataset
from itemspace.core.errors import ArtifactError
from itemspace.data.worlds.shop import demo_shop
from itemspace.space import Space

RECIPE = {"encoder": {"name": "lsa", "dimension": 32}}
KINDS = ("add", "update", "remove", "log")


@dataclass
class Kills:
    """What a run of kills saw: rounds by what was under way, changes acknowledged, and everything that went wrong."""

    rounds: int = 0
    during: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0
    kept_unacknowledged: int = 0
    failures: list[str] = field(default_factory=list)


def small_shop() -> Dataset:
    """The shop that is built and changed."""
    return demo_shop(300, 150, rng=5)


def changes(seed: int, ids: list[str]) -> Iterator[dict[str, Any]]:
    """An endless, seeded sequence of changes; every one touches several rows, so that a part of it would show."""
    draw = random.Random(seed)
    known = sorted(ids)
    number = 0
    while True:
        kind = draw.choice(KINDS)
        number += 1
        if kind == "add":
            new = [f"K{seed}-{number}-{i}" for i in range(3)]
            yield {"kind": kind, "items": new, "price": round(draw.uniform(1, 99), 2)}
            known += new
        elif kind == "remove" and len(known) > 100:
            gone = draw.sample(known, 2)
            known = [name for name in known if name not in gone]
            yield {"kind": kind, "items": gone}
        elif kind == "log":
            yield {"kind": kind, "user": f"user-{number % 7}", "items": draw.sample(known, 3)}
        else:
            yield {"kind": "update", "items": draw.sample(known, 5), "price": round(draw.uniform(1, 99), 2)}


def apply(space: Space, change: dict[str, Any]) -> None:
    """Make one change through the front door."""
    name = space.catalog.schema.id
    if change["kind"] == "add":
        title = "an added thing"
        space.add(
            [{name: item, "title": title, "price": change["price"], "in_stock": True} for item in change["items"]]
        )
    elif change["kind"] == "update":
        space.update([{name: item, "price": change["price"]} for item in change["items"]])
    elif change["kind"] == "remove":
        space.remove(change["items"])
    else:
        space.log([{"user": change["user"], "item": item, "time": 1_700_000_000} for item in change["items"]])


State = tuple[dict[str, float], dict[str, int]]


def state_of(space: Space) -> State:
    """Prices of the items that exist, and events per test user."""
    data = space.dataset()
    catalog = data.catalog
    prices = dict(zip(catalog.ids.values.to_pylist(), catalog.column("price").to_pylist(), strict=True))
    if catalog.live is not None:
        dead = catalog.ids.decode((~catalog.live).nonzero()[0])
        for item in dead:
            del prices[item]  # type: ignore[arg-type]
    counts: dict[str, int] = {}
    if data.interactions is not None:
        users = data.interactions.users
        for row, length in enumerate(data.interactions.histories.lengths.tolist()):
            if users[row].startswith("user-"):
                counts[users[row]] = length
    return prices, counts


def after(state: State, change: dict[str, Any]) -> State:
    """What a change makes of a state: the model that the Space is held against."""
    prices, counts = dict(state[0]), dict(state[1])
    if change["kind"] in ("add", "update"):
        prices |= dict.fromkeys(change["items"], change["price"])
    elif change["kind"] == "remove":
        for item in change["items"]:
            prices.pop(item, None)
    else:
        counts[change["user"]] = counts.get(change["user"], 0) + len(change["items"])
    return prices, counts


def _worker(mode: str, path: str, seed: int) -> None:
    """The child: say, change, say again, until killed."""
    if mode == "build":
        print("building", flush=True)
        Space.build(small_shop(), path=path, recipe=RECIPE).close()
        print("built", flush=True)
        return
    with Space.open(path) as space:
        live = [name for name, _ in sorted(state_of(space)[0].items())]
        print("ready", flush=True)
        for change in changes(seed, live):
            print(json.dumps({"begin": change}), flush=True)
            apply(space, change)
            print(json.dumps({"done": True}), flush=True)


def _spawn(mode: str, path: Path, seed: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "itemspace.testing.space_kills", mode, str(path), str(seed)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def kill_changes(path: Path, rounds: int, *, seed: int = 0, longest: float = 1.5) -> Kills:
    """Kill a process that changes the Space at `path`, `rounds` times, and check after each kill."""
    told, draw = Kills(), random.Random(seed)
    with Space.open(path) as space:
        expected = state_of(space)
    for number in range(rounds):
        child = _spawn("change", path, seed * 1000 + number)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(draw.uniform(0, longest))
        child.send_signal(signal.SIGKILL)
        lines = child.stdout.read().splitlines()
        child.wait()
        pending = None
        for line in lines:
            try:
                said = json.loads(line)
            except ValueError:
                continue  # the last line, cut short
            if "begin" in said:
                pending = said["begin"]
            else:
                assert pending is not None
                expected, pending = after(expected, pending), None
                told.acknowledged += 1
        told.rounds += 1
        during = "between changes" if pending is None else pending["kind"]
        told.during[during] = told.during.get(during, 0) + 1
        expected = _checked(path, expected, pending, told, f"round {number}, during {during}")
    return told


def _checked(path: Path, expected: State, pending: dict[str, Any] | None, told: Kills, where: str) -> State:
    try:
        # Whoever may write sees the end of what a database was still doing for the killed process.
        with Space.open(path) as space, space.writing(wait_s=20):
            space.refresh()
            found = state_of(space)
            hits = space.search("added thing", k=5, where="price > 0")
            if any(hit.item not in found[0] for hit in hits[0]):
                told.failures.append(f"{where}: an answer that does not exist")
            if not space.recommend(user="user-1", k=3).items():
                told.failures.append(f"{where}: no recommendations")
    except Exception as error:
        told.failures.append(f"{where}: {type(error).__name__}: {error}")
        return expected
    if found == expected:
        return found
    if pending is not None and found == after(expected, pending):
        told.kept_unacknowledged += 1
        return found
    lost = {k: v for k, v in expected[0].items() if found[0].get(k) != v}
    extra = {k: v for k, v in found[0].items() if expected[0].get(k) != v}
    told.failures.append(f"{where}: lost {lost}, extra {extra}, events {expected[1]} -> {found[1]}")
    return found


def kill_builds(folder: Path, rounds: int, *, seed: int = 0, longest: float = 6.0) -> Kills:
    """Kill a build at a random moment, check that no half-built Space opens, let it finish, compare the answers."""
    told, draw = Kills(), random.Random(seed)
    asked = ["waterproof boots", "red tent", "wool socks"]
    with Space.build(small_shop(), path=folder / "reference.space", recipe=RECIPE) as reference:
        expected = reference.search(asked, k=10).rows.tolist()
    for number in range(rounds):
        path = folder / f"built-{number}.space"
        child = _spawn("build", path, seed)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(draw.uniform(0, longest))
        child.send_signal(signal.SIGKILL)
        built = "built" in child.stdout.read()
        child.wait()
        told.rounds += 1
        during = "after the build" if built else "build"
        told.during[during] = told.during.get(during, 0) + 1
        try:
            Space.open(path).close()
            complete = True
        except ArtifactError:
            complete = False
        if built and not complete:
            told.failures.append(f"round {number}: built, and does not open")
        try:
            if not complete:
                Space.build(small_shop(), path=path, recipe=RECIPE).close()
            with Space.open(path) as space:
                if space.search(asked, k=10).rows.tolist() != expected:
                    told.failures.append(f"round {number}: other answers than an undisturbed build")
        except Exception as error:
            told.failures.append(f"round {number}: {type(error).__name__}: {error}")
        told.acknowledged += int(built)
    return told


if __name__ == "__main__":
    _worker(sys.argv[1], sys.argv[2], int(sys.argv[3]))
