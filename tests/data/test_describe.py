"""What `describe` measures, on data whose flaws are planted and counted."""

import json

import numpy as np
import pyarrow as pa
import pytest

from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.interactions import Interactions
from itemspace.core.judgments import Judgments, Queries
from itemspace.core.ragged import Ragged
from itemspace.data.describe import describe


def dataset(users, items, times=None, columns=None):
    names = sorted(set(items))
    catalog = Catalog.from_table(pa.table({"id": names, **(columns(names) if columns else {})}))
    log = Interactions.from_columns(users, items, items=catalog.ids, time=None if times is None else np.array(times))
    return Dataset(catalog, log)


def in_user_order(users, length, shuffle, seed=0):
    """Each user gets `length` fresh items in a row; numbers are minted in that order, or shuffled over all."""
    numbers = np.arange(users * length)
    if shuffle:
        numbers = np.random.default_rng(seed).permutation(numbers)
    return dataset([str(u) for u in np.repeat(np.arange(users), length)], [str(n) for n in numbers])


def test_numbers_minted_in_user_order_are_found_and_shuffled_ones_are_not():
    leaky, clean = describe(in_user_order(100, 4, False)), describe(in_user_order(100, 4, True))
    assert leaky.measures["id_next_share"] == 1.0
    assert leaky.measures["id_order_correlation"] > 0.99
    assert any("leak" in w for w in leaky.warnings)
    assert clean.measures["id_next_share"] < 0.05
    assert abs(clean.measures["id_order_correlation"]) < 0.2
    assert not any("leak" in w for w in clean.warnings)


def test_words_as_ids_are_not_measured_as_numbers():
    assert "id_next_share" not in describe(dataset(["u", "u"], ["boot", "tent"])).measures


def test_ties_cold_items_and_duplicates_are_counted():
    found = describe(
        dataset(
            ["a", "a", "a", "b", "b", "b", "b", "c"], ["1", "2", "3", "1", "2", "4", "4", "9"], [5, 7, 7, 1, 2, 3, 4, 0],
            columns=lambda names: {"title": ["same"] * 2 + [None] + ["other"] * (len(names) - 3)},
        )
    )  # fmt: skip
    assert found.measures["tied_last_two"] == 1
    assert found.measures["tied_last_two_share"] == 0.5
    assert found.duplicates["repeated (user, item) pairs"] == 1
    assert found.duplicates["repeated (user, item, time) events"] == 0
    assert found.duplicates["items whose text another item has"] == 2
    assert found.cold["users with one event"] == 1
    # Training holds a's first event, b's first two and c's only one: 3 and 4, the test items, are in none of it.
    assert found.cold["test items unseen in training"] == 2
    assert found.cold["users with three events or more"] == 2
    assert next(c for c in found.columns if c.name == "title").missing == 1


def test_the_timeline_is_by_month():
    found = describe(dataset(["a"] * 4, list("1234"), [0, 86_400, 31 * 86_400, 59 * 86_400]))
    assert found.timeline.months == (("1970-01", 2), ("1970-02", 1), ("1970-03", 1))
    assert (found.timeline.first, found.timeline.last) == ("1970-01-01T00:00:00", "1970-03-01T00:00:00")


def test_events_after_an_item_was_removed_are_counted():
    removed = pa.array([100, None, 100], pa.timestamp("s"))
    found = describe(dataset(["u"] * 4, ["1", "2", "3", "3"], [50, 500, 99, 101], lambda _: {"removed_at": removed}))
    assert found.measures["events_after_removed_at"] == 1
    assert any("1 of 3 events come after" in w for w in found.warnings)


def test_gaps_in_judgments_are_said():
    catalog = Catalog.from_table(pa.table({"id": ["a", "b", "c"], "title": ["Boot", None, "Rope"]}))
    rows = catalog.ids.rows(["a", "b"])
    judgments = Judgments(Ragged.from_lists([rows[:1], rows[1:], []]), np.array([1, 0], np.float32))
    found = describe(Dataset(catalog, queries=Queries.of(["x", "y", "z"]), judgments=judgments))
    assert found.measures["queries_without_judgments"] == 1
    assert found.measures["queries_without_relevant"] == 2
    assert found.measures["judged_items_with_id_only"] == 1
    assert found.counts["grade 0"] == found.counts["grade 1"] == 1


def test_it_is_shown_whole_and_as_json():
    found = describe(in_user_order(20, 3, False))
    assert json.loads(json.dumps(found.to_json()))["counts"]["events"] == 60
    text = str(found)
    for expected in ("events", "60", "named like an ID", "! Item IDs leak", "No times"):
        assert expected in text


def test_a_dataset_without_events_is_described():
    found = describe(Dataset(Catalog.from_table(pa.table({"id": ["a"], "title": ["Boot"]}))))
    assert found.counts == {"items": 1, "columns": 2}
    assert found.per_user == {}
    with pytest.raises(Exception, match="nothing is there"):
        describe("nowhere-at-all", root="/nonexistent")
