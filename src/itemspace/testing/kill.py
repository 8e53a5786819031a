"""Kill a writer at random moments and see what is left: nothing acknowledged lost, nothing half-written visible."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np

from itemspace.core.config import load_object
from itemspace.store.contract import Store, StoreConfig
from itemspace.testing.store_model import SCHEMA, StoreModel, difference, operations, perform


def config_of(store_class: type[Store]) -> StoreConfig:
    """Upkeep after every few writes, so that kills also fall into it."""
    made: StoreConfig = store_class.config_class()(compact_after=6)  # type: ignore[assignment, call-arg]
    return made


def write_until_killed(store_class: str, path: str, seed: int, start: int) -> None:
    """In a process of its own: perform the operations of `seed` from number `start` on, printing each acknowledged."""
    found: type[Store] = load_object(store_class)
    store = found.open(path, config=config_of(found))
    store.items()  # so that loading the engine is not what gets killed
    print("ready", flush=True)
    for number, operation in enumerate(islice(operations(seed), start, None), start):
        perform(store, operation)
        print(number, flush=True)


def survive_kills(store_class: type[Store], path: Path, *, kills: int, seed: int) -> int:
    """Kill writers `kills` times, each at a random moment of a random one of its first 20 writes, and check after each.

    After a kill the store must hold exactly the operations acknowledged, or those and the one in progress.

    Returns:
        The number of operations that were acknowledged.

    Raises:
        AssertionError: something acknowledged is missing, or something half-written is visible.
    """
    rng, config = np.random.default_rng(seed), config_of(store_class)
    stream, model, done = operations(seed), StoreModel(), 10
    with store_class.create(path, items_schema=SCHEMA, id_column="sku", config=config) as store:
        for operation in islice(stream, done):
            perform(store, operation)
            model.apply(operation)
    for kill in range(kills):
        acknowledged = _run_and_kill(store_class, path, seed, done, rng)
        for operation in islice(stream, acknowledged - done):
            model.apply(operation)
        done = acknowledged
        # A database may still be at work on what the killed process last sent: whoever may write sees the end of that.
        with store_class.open(path, config=config) as store, store.writing():
            problem = difference(store, model)
            if problem:
                # Committed, but killed before it could say so: the one operation in progress may be there, whole.
                model.apply(next(stream))
                done += 1
                second = difference(store, model)
                assert not second, f"kill {kill}: after {acknowledged} operations: {problem}; after one more: {second}"
    return done


def _run_and_kill(store_class: type[Store], path: Path, seed: int, start: int, rng: np.random.Generator) -> int:
    """How many operations are acknowledged when a writer that begins with number `start` has been killed."""
    arguments = f"{store_class.path()!r}, {str(path)!r}, {seed}, {start}"
    code = f"from itemspace.testing.kill import write_until_killed as run; run({arguments})"
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stderr is not None
    with writer:
        lines = [writer.stdout.readline() for _ in range(1 + int(rng.integers(0, 20)))]
        time.sleep(float(rng.uniform(0, 0.03)))  # about as long as a write takes
        writer.kill()
        lines += writer.stdout.read().split()
        problem = writer.stderr.read()
    assert lines[0].strip() == "ready", f"the writer failed: {problem}"
    assert "Traceback" not in problem, problem
    return int(lines[-1]) + 1 if len(lines) > 1 else start
