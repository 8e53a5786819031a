"""Splits of published files, against counts made on the files by other means."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.core.interactions import Interactions
from itemspace.data import splits

pytestmark = pytest.mark.skipif("ITEMSPACE_DATA" not in os.environ, reason="ITEMSPACE_DATA is not set")


def root() -> Path:
    return Path(os.environ["ITEMSPACE_DATA"])


def dataset(users, histories, times=None):
    items = [item for history in histories for item in history]
    catalog = Catalog.from_table(pa.table({"item_id": sorted(set(items))}))
    user = np.repeat(users, [len(history) for history in histories])
    return Dataset(catalog, Interactions.from_columns(user, items, items=catalog.ids, time=times))


@pytest.fixture(scope="module")
def lines():
    return [line.split() for line in (root() / "amazon-beauty" / "Beauty.txt").read_text().splitlines()]


@pytest.fixture(scope="module")
def beauty(lines):
    return dataset([line[0] for line in lines], [line[1:] for line in lines])


def test_beauty_leave_one_out(lines, beauty):
    split = splits.leave_one_out(beauty)
    counts = split.manifest["counts"]
    assert split.manifest["order"] == "file"
    assert (counts["users"], counts["items"], counts["events"]) == (22_363, 12_101, 198_502)
    assert (counts["train_events"], counts["valid_requests"], counts["test_requests"]) == (153_776, 22_363, 22_363)
    assert counts["test_cold"] == 138
    assert (split.test.groups["cold"] == "cold").sum() == 138
    # The same, in plain Python from the file.
    by_user = {line[0]: line[1:] for line in lines}
    names = split.train.interactions.users.decode(split.test.requests.user)
    targets = beauty.catalog.ids.decode(split.test.judgments.items.values)
    assert all(by_user[name][-1] == target for name, target in zip(names, targets, strict=True))
    trained = {item for line in lines for item in line[1:-2]}
    assert sum(line[-1] not in trained for line in lines) == 138
    for row in (0, 777, len(split.test) - 1):
        assert beauty.catalog.ids.decode(split.test.requests.history.items[row]) == by_user[names[row]][:-1]
        assert beauty.catalog.ids.decode(split.valid.requests.history.items[row]) == by_user[names[row]][:-2]


def test_beauty_from_its_manifest_and_no_other(lines, beauty):
    manifest = json.loads(json.dumps(splits.cold_items(beauty, rng=5).manifest))
    again = splits.from_manifest(beauty, manifest)
    assert again.manifest == manifest
    fewer = dataset([line[0] for line in lines[1:]], [line[1:] for line in lines[1:]])
    with pytest.raises(DataError, match="other data"):
        splits.from_manifest(fewer, manifest)


def test_beauty_with_times_counts_its_ties():
    path = next((root() / "amazon-timestamps").glob("*.jsonl"))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    times = np.array([t for row in rows for t in row["Timestamp"]], np.int64)
    data = dataset([str(row["UserID"]) for row in rows], [[str(i) for i in row["ItemID"]] for row in rows], times)
    split = splits.leave_one_out(data)
    ordered = [sorted(row["Timestamp"]) for row in rows]
    assert split.manifest["counts"]["tied_users"] == sum(t[-1] == t[-2] for t in ordered if len(t) >= 3)
    assert split.manifest["counts"]["tied_users"] > 9_000

    later = splits.global_temporal(data)
    cut = later.manifest["counts"]["test_from"]
    known = {item for row in rows for item, t in zip(row["ItemID"], row["Timestamp"], strict=True) if t < cut}
    assert later.test.candidates.count == len(known)
    assert later.train.interactions.time.max() < later.manifest["counts"]["valid_from"] <= cut
