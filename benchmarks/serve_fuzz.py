"""The server against its own OpenAPI document, and a table of what it refuses.

Every operation is asked many requests, those the document allows and those it does not: no answer may be of 5xx, and each has
a status, a media type and a form that the document names. Then every refusal of the tests is made once and told.

python benchmarks/serve_fuzz.py            # 400 requests an operation, a few minutes on one core
python benchmarks/serve_fuzz.py --quick    # 20 requests an operation, half a minute
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

import harness

from itemspace.data.worlds.shop import demo_shop
from itemspace.serve.app import Application
from itemspace.serve.config import ServeConfig
from itemspace.serve.openapi import document
from itemspace.serve.routes import ENDPOINTS
from itemspace.space import Space
from itemspace.testing.serving import HOME, fuzz, operations, with_names

ITEMS, USERS, SEED = 300, 200, 3
RECIPE = {"encoder": {"name": "lsa", "dimension": 32}, "recommender": {"name": "item-knn"}}


def spaces(folder: Path) -> dict[str, Path]:
    """A shop, and a Space without events."""
    shop = demo_shop(ITEMS, USERS, rng=SEED)
    made = {"shop": folder / "shop.space", "bare": folder / "bare.space"}
    Space.build(shop, path=made["shop"], recipe=RECIPE, replace=made["shop"].exists()).close()
    from dataclasses import replace

    items = replace(shop, interactions=None, impressions=None)
    part = {"encoder": RECIPE["encoder"]}
    Space.build(items, path=made["bare"], recipe=part, replace=made["bare"].exists()).close()
    return made


def fuzzed(
    app: Application, items: list[str], columns: list[str], examples: int, seed: int
) -> tuple[list[list[object]], Counter[int], int]:
    """A row per operation, all statuses, and the operations with an answer that the document does not know."""
    told = with_names(document(ENDPOINTS, keys=False), ["shop", "bare"], items, columns)
    rows: list[list[object]] = []
    every: Counter[int] = Counter()
    failures = 0
    for method, path, _ in operations(told):
        began = time.perf_counter()
        try:
            found = fuzz(app, told, method, path, examples, seed=seed)
            every += found
            states = ", ".join(f"{status}: {count:,}" for status, count in sorted(found.items()))
        except AssertionError as error:
            failures += 1
            states = f"FAILED: {error}"
            print(f"{method} {path}: {error}", file=sys.stderr)
        rows.append([f"{method} {path}", states])
        print(f"  {time.perf_counter() - began:5.1f} s  {method} {path}  {states[:100]}", file=sys.stderr, flush=True)
    return rows, every, failures


def refused(app: Application, item: str) -> tuple[list[list[object]], int]:
    """Every refusal of the tests: what was sent, and with which status and type it was refused; and how many were not so."""
    from starlette.testclient import TestClient

    sys.path.insert(0, str(harness.HOME))
    from tests.serve.test_refused import CASES

    rows: list[list[object]] = []
    wrong = 0
    with TestClient(app, base_url=HOME, raise_server_exceptions=False) as client:
        for name, (method, path, content, headers, status, kind, _) in CASES.items():
            if content is not None:
                content = content.replace(b"{item}", item.encode())
            answer = client.request(
                method, path, content=content, headers={"content-type": "application/json"} | headers
            )
            error = json.loads(answer.content)["error"]
            wrong += answer.status_code != status or error["type"] != (kind or error["type"])
            rows.append([name, f"{method} {path}", answer.status_code, error["type"]])
    return rows, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=400, help="requests an operation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="20 requests an operation, told in the workspace only")
    options = parser.parse_args()
    examples = 20 if options.quick else options.examples
    began = time.perf_counter()
    made = spaces(harness.workspace("serve-fuzz"))
    with Space.open(made["shop"]) as space:
        items, columns = space.catalog.ids.values[:20].to_pylist(), list(space.catalog.schema.kinds)
    config = ServeConfig.parse({"spaces": made, "page": False, "limits": {"timeout_s": 120.0}})
    result = harness.Result(
        "serve-fuzz" if not options.quick else "serve-fuzz-quick",
        "The server against its own document",
        order=95,
        command="python benchmarks/serve_fuzz.py",
        about=f"A generated shop of {ITEMS} items and {USERS} users (seed {SEED}) and a Space without events; {examples} requests "
        f"an operation, half of them allowed by the document and half not, seed {options.seed}; in one process.",
        peers=harness.versions("schemathesis", "hypothesis", "pydantic", "starlette"),
    )
    rows, wrong = refused(Application(config), items[0])
    result.table("Refused requests", ["what", "request", "status", "type"], rows)
    result.at_most("requests of the table that were not refused as they should be", wrong, 0)
    rows, every, failures = fuzzed(Application(config), items, columns, examples, options.seed)
    result.table("Statuses by operation", ["operation", "answers"], rows)
    result.at_most("operations with an answer of 5xx, or one that the document does not know", failures, 0)
    result.notes.append(f"{every.total():,} requests in {time.perf_counter() - began:.0f} s.")
    result.publish(harness.workspace("serve-fuzz") if options.quick else harness.HOME / "docs" / "measured")


if __name__ == "__main__":
    main()
