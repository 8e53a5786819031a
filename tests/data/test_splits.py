"""Each split keeps what it promises, on random logs; and its manifest gives it back."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.core.interactions import Impressions, Interactions
from itemspace.core.judgments import Judgments, Queries
from itemspace.data import splits
from itemspace.data.splits.base import length_labels, popularity_classes
from itemspace.data.splits.temporal import moment

NEW = 10_000


@st.composite
def logs(draw, timed=None):
    """A dataset of random events: repeats, ties in time, users with one event, items nobody touched, impressions."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n_items, n_users, n = draw(st.integers(12, 40)), draw(st.integers(4, 25)), draw(st.integers(60, 200))
    has_times = draw(st.booleans()) if timed is None else timed
    released = rng.integers(0, 100, n_items)
    catalog = Catalog.from_table(
        pa.table({"item_id": [f"i{i}" for i in range(n_items)], "released": pa.array(released, pa.timestamp("s"))})
    )
    user, item = rng.integers(0, n_users, n).astype(str), np.char.add("i", rng.integers(0, n_items, n).astype(str))
    time = rng.integers(0, 40, n) if has_times else None
    events = Interactions.from_columns(user, item, items=catalog.ids, time=time)
    m = 80
    shown = Impressions(
        request=np.arange(m, dtype=np.int32),
        item=rng.integers(0, n_items, m).astype(np.int32),
        position=np.zeros(m, np.int32),
        outcome=np.ones(m, np.float32),
        items=catalog.ids,
        user=rng.integers(-1, len(events.users), m).astype(np.int32),
        users=events.users,
        time=rng.integers(0, 40, m) if has_times else None,
    )
    return Dataset(catalog, events, shown, name="log")


def pairs(events):
    return list(zip(events.user.tolist(), events.item.tolist(), strict=True))


def cells(task):
    """(user, history, targets) of every request, in plain lists."""
    users, history = task.requests.user.tolist(), task.requests.history.items.to_lists()
    return list(zip(users, history, task.judgments.items.to_lists(), strict=True))


def check_task(task, train):
    """What holds for every task: columns of one length, no target in an excluded history, groups by training counts."""
    counts = np.bincount(train.item, minlength=len(train.items))
    for user, history, targets in cells(task):
        assert user >= 0
        assert history
        assert targets
        if task.exclude_history:
            assert not set(history) & set(targets)
    assert set(task.groups) == {"history_length", "popularity", "cold"}
    assert all(len(labels) == len(task) for labels in task.groups.values())
    single = task.judgments.items.lengths == 1
    unseen = counts[task.judgments.items.values[task.judgments.items.offsets[:-1]]] == 0
    assert ((task.groups["cold"] == "cold") == unseen)[single].all()


@given(logs(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_leave_one_out_holds_out_the_last_two_and_shows_exactly_what_came_before(data, exclude):
    split = splits.leave_one_out(data, exclude_history=exclude)
    asked = {user: (history, targets) for user, history, targets in cells(split.test)}
    checked = {user: (history, targets) for user, history, targets in cells(split.valid)}
    for user, items in enumerate(data.interactions.histories.to_lists()):
        mine = split.train.interactions.histories[user].tolist()
        if len(items) < 3:
            assert mine == items
            assert user not in asked and user not in checked  # noqa: PT018
            continue
        assert mine == items[:-2]
        for found, position in ((asked, -1), (checked, -2)):
            repeated = exclude and items[position] in items[:position]
            assert found.get(user) == (None if repeated else (items[:position], [items[position]]))
    for task in (split.valid, split.test):
        check_task(task, split.train.interactions)
    if data.order == "time":
        last = data.interactions.history_times
        expected = [last[user][-1] for user in split.test.requests.user]
        np.testing.assert_array_equal(split.test.requests.as_of, expected)


@given(logs())
@settings(max_examples=40, deadline=None)
def test_no_training_impression_tells_of_a_held_out_event(data):
    events = data.interactions
    for make in (splits.leave_one_out, splits.random):
        split = make(data)
        train = pairs(split.train.interactions)
        held = pairs(events)
        for pair in train:
            held.remove(pair)
        shown = split.train.impressions
        assert not set(zip(shown.user.tolist(), shown.item.tolist(), strict=True)) & set(held)
        assert (shown.user < 0).sum() == (data.impressions.user < 0).sum()
        if make is splits.leave_one_out and data.order == "time":
            first = dict.fromkeys(range(len(events.users)), NEW)
            for user, times in enumerate(events.history_times.to_lists()):
                first[user] = times[-2] if len(times) >= 3 else NEW
            assert all(t < first.get(u, NEW) for u, t in zip(shown.user.tolist(), shown.time.tolist(), strict=True))


@given(logs(timed=True))
@settings(max_examples=40, deadline=None)
def test_shuffled_ties_move_events_only_within_one_user_and_second(data):
    plain, mixed = splits.leave_one_out(data), splits.leave_one_out(data, ties="shuffle", rng=3)
    assert mixed.manifest["counts"]["tied_events"] == plain.manifest["counts"]["tied_events"]
    user, time = data.interactions.user, data.interactions.time
    same = [(user == u) & (time == t) for u, t in zip(user, time, strict=True)]
    assert plain.manifest["counts"]["tied_events"] == sum(int(mask.sum() > 1) for mask in same)
    histories = data.interactions.history_times
    tied = sum(len(h) >= 3 and h[-1] == h[-2] for h in (histories[u] for u in range(len(histories))))
    assert plain.manifest["counts"]["tied_users"] == tied
    for user, history, targets in cells(splits.leave_one_out(data, ties="shuffle", rng=3, exclude_history=False).test):
        assert sorted(history + targets) == sorted(data.interactions.histories[user].tolist())
        when = data.interactions.history_times[user]
        last_second = data.interactions.histories[user][when == when[-1]]
        assert targets[0] in last_second


def test_shuffling_ties_really_changes_their_order():
    catalog = Catalog.from_table(pa.table({"item_id": [str(i) for i in range(50)]}))
    user = np.repeat(np.arange(40), 6).astype(str)
    item = np.tile(np.arange(6), 40).astype(str)
    data = Dataset(catalog, Interactions.from_columns(user, item, items=catalog.ids, time=np.zeros(240, np.int64)))
    plain = splits.leave_one_out(data).test.judgments.items.values
    mixed = splits.leave_one_out(data, ties="shuffle").test.judgments.items.values
    assert len(set(plain.tolist())) == 1
    assert len(set(mixed.tolist())) == 6
    assert splits.leave_one_out(data).manifest["counts"]["tied_users"] == 40


@given(logs(timed=True), st.sampled_from(["all", "next"]), st.sampled_from([None, "released"]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_global_temporal_knows_nothing_of_the_future(data, targets, released, exclude):
    split = splits.global_temporal(
        data, valid_from=20, test_from=30, targets=targets, released=released, exclude_history=exclude
    )
    assert split.train.interactions.time.max() < 20
    assert (split.train.impressions.time < 20).all()
    assert len(split.train.interactions) == (data.interactions.time < 20).sum()
    launch = np.asarray(data.catalog.table.column("released").cast(pa.int64()))
    events = data.interactions
    for task, start, stop in ((split.valid, 20, 30), (split.test, 30, NEW)):
        exists = np.isin(np.arange(len(data.catalog)), events.item[events.time < start])
        if released:
            exists |= launch < start
        np.testing.assert_array_equal(task.candidates.mask, exists)
        assert (task.requests.as_of == start - 1).all()
        assert (task.requests.history.times.values < start).all()
        found = {user: (history, wanted) for user, history, wanted in cells(task)}
        for user in range(len(events.users)):
            mine, when = events.histories[user], events.history_times[user]
            past = mine[when < start].tolist()
            future = mine[(when >= start) & (when < stop)].tolist()
            future = future[:1] if targets == "next" else future
            wanted = {i for i in future if exists[i] and not (exclude and i in past)}
            if past and wanted:
                assert found[user][0] == past
                assert set(found[user][1]) == wanted
            else:
                assert user not in found
        check_task(task, split.train.interactions)


def test_temporal_shares_cut_by_the_number_of_events_and_dates_are_utc():
    catalog = Catalog.from_table(pa.table({"item_id": [str(i) for i in range(10)]}))
    rng = np.random.default_rng(0)
    events = Interactions.from_columns(
        rng.integers(0, 20, 1000).astype(str),
        rng.integers(0, 10, 1000).astype(str),
        items=catalog.ids,
        time=np.arange(1000),
    )
    split = splits.global_temporal(Dataset(catalog, events), valid_share=0.2, test_share=0.1)
    assert len(split.train.interactions) == 700
    assert (split.manifest["counts"]["valid_events"], split.manifest["counts"]["test_events"]) == (200, 100)
    assert moment("1970-01-02") == 86_400
    assert moment("1970-01-01T01:00:00+01:00") == 0


@given(logs(), st.sampled_from(["all", "cold"]), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_cold_items_are_never_trained_on_and_are_all_that_is_asked(data, candidates, seed):
    split = splits.cold_items(data, valid_share=0.2, test_share=0.2, candidates=candidates, rng=seed)
    trained = set(split.train.interactions.item.tolist())
    wanted = [set(task.judgments.items.values.tolist()) for task in (split.valid, split.test)]
    assert not wanted[0] & wanted[1]
    assert not set(split.train.impressions.item.tolist()) & (wanted[0] | wanted[1])
    for task, items in zip((split.valid, split.test), wanted, strict=True):
        assert not items & trained
        if candidates == "cold":
            assert items <= set(task.candidates.rows.tolist())
            assert not trained & set(task.candidates.rows.tolist())
        else:
            assert task.candidates is None
        for user, history, targets in cells(task):
            everything = data.interactions.histories[user].tolist()
            at = max(i for i, item in enumerate(everything) if item == targets[0])
            assert history == [item for item in everything[:at] if item in trained]
        check_task(task, split.train.interactions)
    withheld = split.manifest["counts"]["valid_items"] + split.manifest["counts"]["test_items"]
    assert withheld == len(set(data.interactions.item.tolist())) - len(trained)


@given(logs(), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_cold_users_are_never_trained_on(data, seed):
    split = splits.cold_users(data, valid_share=0.2, test_share=0.3, rng=seed, exclude_history=False)
    trained = set(split.train.interactions.user.tolist())
    asked = [set(task.requests.user.tolist()) for task in (split.valid, split.test)]
    assert not asked[0] & asked[1]
    assert not (asked[0] | asked[1]) & trained
    assert not set(split.train.impressions.user.tolist()) & (asked[0] | asked[1])
    for task in (split.valid, split.test):
        for user, history, targets in cells(task):
            assert history + targets == data.interactions.histories[user].tolist()
        check_task(task, split.train.interactions)


@given(logs(), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_random_parts_every_event_once(data, seed):
    split = splits.random(data, valid_share=0.2, test_share=0.3, rng=seed, exclude_history=False)
    n, counts = len(data.interactions), split.manifest["counts"]
    assert counts["valid_events"] == round(0.2 * n)
    assert counts["test_events"] == round(0.3 * n)
    assert counts["train_events"] == n - round(0.2 * n) - round(0.3 * n)
    left = pairs(data.interactions)
    for pair in pairs(split.train.interactions):
        left.remove(pair)  # raises when training holds an event that does not exist
    for task in (split.valid, split.test):
        assert {(user, t) for user, _, targets in cells(task) for t in targets} <= set(left)
        assert task.requests.as_of is None
        check_task(task, split.train.interactions)


@given(logs(timed=True), st.sampled_from(sorted(splits.SPLITS)), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_a_manifest_survives_json_and_gives_the_same_split(data, kind, seed):
    options = {"ties": "shuffle"} if kind == "leave_one_out" else {"valid_share": 0.2, "test_share": 0.2}
    split = splits.SPLITS[kind](data, rng=seed, **options)
    again = splits.from_manifest(data, json.loads(json.dumps(split.manifest)))
    assert again.manifest == split.manifest
    assert pairs(again.train.interactions) == pairs(split.train.interactions)
    for one, other in ((again.valid, split.valid), (again.test, split.test)):
        assert cells(one) == cells(other)
        assert one.fingerprint == other.fingerprint
    other = replace(data, interactions=data.interactions.take(np.arange(len(data.interactions) - 1)))
    with pytest.raises(DataError, match="other data"):
        splits.from_manifest(other, split.manifest)


@given(logs(), st.sampled_from(["cold_items", "cold_users", "random"]))
@settings(max_examples=20, deadline=None)
def test_the_seed_decides_what_is_withheld(data, kind):
    made = [splits.SPLITS[kind](data, valid_share=0.3, test_share=0.3, rng=seed) for seed in (1, 2, 3, 4, 1)]
    trained = [pairs(split.train.interactions) for split in made]
    assert trained[0] == trained[4]
    assert any(trained[0] != other for other in trained[1:4])


def test_refusals_say_what_is_wrong():
    catalog = Catalog.from_table(pa.table({"item_id": ["a", "b", "c"]}))
    data = Dataset(catalog, Interactions.from_columns(["u"] * 3, ["a", "b", "c"], items=catalog.ids), name="tiny")
    manifest = dict(splits.leave_one_out(data).manifest)
    for make, message in [
        (lambda: splits.leave_one_out(Dataset(catalog, name="tiny")), "tiny has no interactions"),
        (lambda: splits.leave_one_out(data, ties="shuffle"), "no times"),
        (lambda: splits.leave_one_out(data, min_events=2), "at least 3"),
        (lambda: splits.global_temporal(data), "needs the time"),
        (lambda: splits.random(data, test_share=1.5), "test_share must lie between 0 and 1"),
        (lambda: splits.cold_items(data, valid_share=0.5, test_share=0.5), "leave nothing to train on"),
        (lambda: splits.from_manifest(data, {**manifest, "kind": "leave_one_uot"}), "Did you mean `leave_one_out`"),
        (lambda: splits.from_manifest(data, {**manifest, "version": 9}), "version 9"),
        (lambda: splits.from_manifest(data, {"kind": "random"}), "not the manifest of a split"),
        (lambda: splits.from_manifest(data, {**manifest, "parts": {}}), "differs from what the manifest recorded"),
        (lambda: splits.query_task(data), "has no queries"),
        (lambda: moment("31.5.2024"), '"31.5.2024" is not a date'),
    ]:
        with pytest.raises(DataError, match=message):
            make()


def test_groups_by_hand():
    assert length_labels(np.array([0, 1, 4, 5, 9, 10, 19, 20, 49, 50, 900])).tolist() == [
        *("0", "1-4", "1-4", "5-9", "5-9", "10-19", "10-19", "20-49", "20-49", "50+", "50+")
    ]
    # 12 events: the item with 4 holds the first third, the two with 2 the second, the four with 1 the last.
    assert popularity_classes(np.array([1, 4, 2, 1, 0, 2, 1, 1])).tolist() == [1, 3, 2, 1, 0, 2, 1, 1]
    # Equal counts are never parted.
    assert set(popularity_classes(np.full(10, 7)).tolist()) == {3}
    assert popularity_classes(np.zeros(3, int)).tolist() == [0, 0, 0]


@given(st.integers(2, 60), st.floats(0.2, 0.8), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_query_splits_share_no_text_and_keep_their_judgments(n, share, seed):
    rng = np.random.default_rng(seed)
    catalog = Catalog.from_table(pa.table({"item_id": [str(i) for i in range(30)]}))
    texts = [f"words {i}" for i in range(n)] + ["words 0"] * 3
    judged = rng.integers(0, 30, (len(texts), 4))
    query = np.repeat(np.arange(len(texts)), 4)
    grade = (judged.ravel() * 7 + query) % 4
    keep = query != 1  # query 1 is not judged at all
    judgments = Judgments.from_pairs(query[keep], judged.ravel()[keep], grade[keep], len(texts))
    queries = replace(Queries.of(texts), attributes={"group": np.arange(len(texts)) % 2})
    data = Dataset(catalog, queries=queries, judgments=judgments)
    if not 0 < round((n - 1) * share) < n - 1:
        with pytest.raises(DataError, match="cannot be split"):
            splits.split_queries(data, share, seed)
        return
    one, other = splits.split_queries(data, share, seed)
    assert not set(one.requests.text) & set(other.requests.text)
    assert sorted([*one.requests.text, *other.requests.text]) == sorted(t for i, t in enumerate(texts) if i != 1)
    assert len(set(one.requests.text)) == round((n - 1) * share)
    wanted = {}
    for i, text in enumerate(texts):
        items, grades = (
            judgments.items[i],
            judgments.grades[judgments.items.offsets[i] : judgments.items.offsets[i + 1]],
        )
        wanted.setdefault(text, []).append(sorted(zip(items.tolist(), grades.tolist(), strict=True)))
    for task in (one, other):
        assert not task.exclude_history
        offsets = task.judgments.items.offsets
        for row, text in enumerate(task.requests.text):
            grades = task.judgments.grades[offsets[row] : offsets[row + 1]]
            assert sorted(zip(task.judgments.items[row].tolist(), grades.tolist(), strict=True)) in wanted[text]
            assert task.groups["group"][row] in (0, 1)


def test_repeated_query_splits_differ_and_repeat():
    catalog = Catalog.from_table(pa.table({"item_id": [str(i) for i in range(30)]}))
    judgments = Judgments.single(np.arange(30))
    data = Dataset(catalog, queries=Queries.of([f"q{i}" for i in range(30)]), judgments=judgments)
    runs = [[one.requests.text for one, _ in splits.repeated_query_splits(data, 5, rng=4)] for _ in range(2)]
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 5
