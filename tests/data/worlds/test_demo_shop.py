"""The demo shop: readable, complete, and true to what it was drawn from."""

import struct
import zlib
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itemspace.core.errors import RequestError
from itemspace.core.plugins import find
from itemspace.core.schema import Schema
from itemspace.data.splits import global_temporal, leave_one_out, query_task
from itemspace.data.tables import read_tables
from itemspace.data.worlds import (
    Oracle,
    best_possible,
    best_possible_ndcg,
    chance_level,
    demo_shop,
    shop_world,
    write_shop,
)
from itemspace.data.worlds.base import DAY, START, conditional
from itemspace.data.worlds.shop import words
from itemspace.data.worlds.shop.items import KINDS, SPAN
from itemspace.data.worlds.shop.pictures import SIZE, draw
from itemspace.evaluate import evaluate


@pytest.fixture(scope="module")
def shop():
    return shop_world(items=1500, users=1200, queries=240, rng=1)


@pytest.fixture(scope="module")
def rows(shop):
    return shop.data.catalog.table.to_pylist()


def knower(world, task):
    """MRR of the predictor that knows the truth."""
    scores = conditional(world.truth, task.requests, task)
    scores += np.random.default_rng(0).random(scores.shape) * 1e-12
    target = task.judgments.items.values
    return np.mean(1 / ((scores > scores[np.arange(len(target)), target][:, None]).sum(1) + 1))


def test_the_default_shop_has_thousands_of_items():
    data = demo_shop()
    assert len(data.catalog) == 2000
    assert len(data.interactions.users) == 3000
    assert len(data.interactions) > 60_000
    assert len(data.queries) == 300


def test_titles_say_what_the_columns_say(rows):
    for row in rows:
        title = row["title"].lower()
        named = [row["brand"], row["material"], row["color"], row["product_type"], row["size"] or ""]
        assert all(str(part).lower() in title for part in named), row
        assert row["title"].startswith(row["brand"])
        assert row["in_stock"] == (row["stock"] > 0)
        assert row["price"] > 0
        assert 1 <= row["rating"] <= 5
        assert row["features"]
    texts = [row["description"].lower() for row in rows]
    assert min(len(text.split()) for text in texts) >= 8
    assert len(set(texts)) > 1000
    # Every feature is in the description, plainly or in other words; both happen.
    plain = 0
    for row, text in zip(rows, texts, strict=True):
        for feature in row["features"]:
            other = words.FEATURES[feature][1].lower()
            assert f"{feature}." in text or other in text, (feature, text)
            plain += f"{feature}." in text
    assert 0.3 < plain / sum(len(row["features"]) for row in rows) < 0.5


def test_variants_differ_in_color_alone(rows):
    products = {}
    for row in rows:
        products.setdefault(row["variant_of"], []).append(row)
    assert max(len(group) for group in products.values()) == 4
    shared = ("product_type", "brand", "material", "size", "features", "released")
    for group in products.values():
        assert len({row["color"] for row in group}) == len(group)
        assert all(row[name] == group[0][name] for row in group for name in shared)


def test_files_read_back_as_the_same_catalogue(shop, tmp_path):
    folder = write_shop(tmp_path / "shop", shop)
    table = pq.read_table(folder / "items.parquet")
    inferred = Schema.infer(table)
    assert dict(inferred.kinds) == KINDS
    data = shop.data
    assert sorted(table.column("item_id").to_pylist()) == sorted(data.catalog.ids.values.to_pylist())
    events = pq.read_table(folder / "interactions.parquet")
    assert events.num_rows == len(data.interactions)
    assert (np.diff(np.asarray(events.column("timestamp"))) >= 0).all()
    mine = data.interactions
    expected = set(zip(mine.users.decode(mine.user), mine.items.decode(mine.item), mine.time.tolist(), strict=True))
    columns = (events.column(name).to_pylist() for name in ("user_id", "item_id", "timestamp"))
    assert set(zip(*columns, strict=True)) == expected
    given = {name: folder / f"{name}.parquet" for name in ("queries", "judgments")}
    asked = read_tables(folder / "items.parquet", **given).queries
    group = dict(zip(data.queries.texts, data.queries.attributes["group"].tolist(), strict=True))
    assert asked.attributes["group"].tolist() == [group[text] for text in asked.texts]
    judged = pq.read_table(folder / "judgments.parquet")
    assert judged.num_rows == len(data.judgments.grades)
    assert set(judged.column("grade").to_pylist()) == {0, 1, 2, 3}
    assert pq.read_table(folder / "queries.parquet").column("text").to_pylist() == list(data.queries.texts)
    assert pq.read_table(folder / "impressions.parquet").num_rows == len(data.impressions)
    for path in table.column("image").to_pylist():
        assert (folder / path).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert sum(path.stat().st_size for path in (folder / "images").iterdir()) < 1500 * 1000


def decode(png):
    """RGB pixels of an unfiltered 8-bit PNG; checks every checksum."""
    at, chunks = 8, {}
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        at += 12 + size
    width, height, depth, color, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, color) == (8, 2)
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + width * 3)
    assert (lines[:, 0] == 0).all()
    return lines[:, 1:].reshape(height, width, 3)


def test_pictures_show_the_type_and_the_color(shop, rows, tmp_path):
    folder = write_shop(tmp_path, shop)
    shapes = {}
    for row in rows[:200]:
        pixels = decode((folder / row["image"]).read_bytes())
        assert pixels.shape == (SIZE, SIZE, 3)
        in_color = (pixels == words.COLORS[row["color"]]).all(-1)
        assert in_color.mean() > 0.02
        shapes.setdefault(row["product_type"], []).append(in_color)
    # Items of one type have one silhouette (bar the corner that marks the brand and the band of the material).
    for masks in shapes.values():
        assert all((mask == masks[0]).all() for mask in masks)
    assert len({masks[0].tobytes() for masks in shapes.values()}) > 20
    # Two types of one shape still look different.
    one = replace(shop.truth.items.take(np.zeros(2, int)), kind=np.array([0, 1]))
    assert (draw(one)[0] != draw(one)[1]).any()


def test_nothing_happens_before_its_time_and_nobody_takes_a_thing_twice(shop):
    data, items = shop.data, shop.truth.items
    events = data.interactions
    assert (items.released[events.item] <= events.time).all()
    assert len({*zip(events.user.tolist(), events.item.tolist(), strict=True)}) == len(events)
    assert events.time.min() >= START
    assert events.time.max() <= START + SPAN * DAY + 100
    shown = data.impressions
    assert (items.released[shown.item] <= shown.time).all()
    released = np.asarray(data.catalog.table.column("released").cast(pa.timestamp("s")).cast(pa.int64()))
    np.testing.assert_array_equal(released, items.released)
    later = global_temporal(data, released="released").test
    assert later.candidates.count > len(set(events.item.tolist())) / 2


def test_users_follow_the_seasons_their_drifting_taste_and_what_goes_with_what(shop):
    events, items = shop.data.interactions, shop.truth.items
    kind = items.kind[events.item]
    season = np.array([k.season for k in words.kinds()])[kind]
    month = ((events.time - START) // DAY % 365) // 30.5 + 1
    winter = np.isin(month, [12, 1])
    assert np.mean(season[winter] == 12) > 1.5 * np.mean(season[np.isin(month, [6, 7])] == 12)
    same_user = events.user[1:] == events.user[:-1]
    before, after = kind[:-1][same_user], kind[1:][same_user]
    goes_with = words.complements()[before, after] > 0
    at_random = words.complements()[before, np.random.default_rng(0).permutation(after)] > 0
    assert goes_with.mean() > at_random.mean() + 0.3
    # Taste: the second half of a history is less like the first half than it would be without drift.
    users = shop.truth.demand.users
    assert np.mean([np.argmax(users.before, 1) != np.argmax(users.after, 1)]) > 0.5
    activity = np.array([words.ACTIVITIES.index(k.activity) for k in words.kinds()])[kind]
    early = events.time < START + 0.25 * SPAN * DAY
    late = events.time > START + 0.75 * SPAN * DAY
    first, last = users.before.argmax(1)[events.user], users.after.argmax(1)[events.user]
    assert np.mean(activity[early] == first[early]) > np.mean(activity[late] == first[late]) + 0.1
    assert np.mean(activity[late] == last[late]) > np.mean(activity[early] == last[early]) + 0.1


def measured(world, names=("popularity", "item-knn", "ease", "counting")):
    """nDCG@10 of recommenders and of the truth on the last tenth of the events, and of chance."""
    split = global_temporal(world.data)
    arms = {"truth": Oracle(world.truth)}
    for name in names:
        arms[name] = find("recommenders", name)()
        arms[name].fit(split.train, rng=0)
    found = {
        name: evaluate(arm.bind(world.data.catalog), split.test, ["ndcg@10"], k=10, name=name)["ndcg@10"]
        for name, arm in arms.items()
    }
    return found | {"chance": chance_level(split.test, len(world.data.catalog), "ndcg@10")}


def test_the_default_shop_tells_recommenders_apart_and_leaves_them_room():
    scores = measured(shop_world(queries=5, lists=5))
    assert 4 * scores["chance"] < scores["popularity"]
    for name in ("item-knn", "ease", "counting"):
        assert 1.4 * scores["popularity"] < scores[name] < 0.7 * scores["truth"], scores


def test_at_full_randomness_no_recommender_beats_chance():
    scores = measured(shop_world(queries=5, lists=5, randomness=1.0))
    assert all(score < 0.006 for name, score in scores.items()), scores


def test_the_oracle_scores_what_is_possible_and_answers_within_a_filter(shop):
    task = leave_one_out(shop.data).test
    oracle = Oracle(shop.truth).bind(shop.data.catalog)
    found = evaluate(oracle, task, ["ndcg@10"], k=10, name="truth")["ndcg@10"]
    assert abs(found - best_possible(shop.truth, task, "ndcg@10")) < 0.03
    few = task.requests.take(np.arange(20))
    cheap = np.asarray(shop.data.catalog.table.column("price")) < 40
    everything, some = oracle.search(few, 1500), oracle.search(few, 10, "price < 40")
    for all_rows, rows in zip(everything.rows, some.rows, strict=True):
        assert rows.tolist() == [row for row in all_rows.tolist() if row >= 0 and cheap[row]][:10]


@pytest.mark.parametrize("randomness", [0.0, 0.5, 1.0])
def test_the_truth_predicts_as_well_as_it_says_and_the_dial_ends_in_chance(randomness):
    off, best, level = [], [], []
    for seed in range(6):
        world = shop_world(items=400, users=500, queries=5, lists=5, randomness=randomness, rng=seed)
        task = leave_one_out(world.data).test
        best.append(best_possible(world.truth, task))
        off.append(knower(world, task) - best[-1])
        level.append(chance_level(task, 400))
    assert abs(np.mean(off)) < 3 * max(np.std(off), 0.004) / np.sqrt(6)
    if randomness == 1:
        # Unreleased items are known not to be next: the best is a little above chance over the whole catalogue.
        assert np.mean(best) < 1.25 * np.mean(level)
    else:
        assert np.mean(best) > np.mean(level) + (0.1 if randomness == 0 else 0.04)


def test_grades_follow_from_the_columns(shop, rows):
    """Every grade again, from the query's wishes and the catalogue's columns, for some queries of every group."""
    wanted, types = shop.truth.wanted, {kind.name: kind for kind in words.kinds()}
    cheap = {}
    for name in types:
        prices = sorted(row["price"] for row in rows if row["product_type"] == name)
        cheap[name] = prices[int(0.33 * (len(prices) - 1))] if prices else 0
    for group in range(8):
        for query in np.flatnonzero(wanted.group == group)[:6].tolist():
            noun = words.names("nouns")[wanted.noun[query]]
            home = {kind.category for kind in types.values() if kind.noun == noun}
            for item, row in enumerate(rows):
                wishes = []
                for what, key in (("colors", "color"), ("brands", "brand"), ("sizes", "size")):
                    code = getattr(wanted, key)[query]
                    wishes += [] if code < 0 else [row[key] == words.names(what)[code]]
                if wanted.feature[query] >= 0:
                    wishes.append(words.names("features")[wanted.feature[query]] in row["features"])
                if wanted.cheap[query]:
                    wishes.append(row["price"] <= cheap[row["product_type"]])
                right = types[row["product_type"]].noun == noun
                if group == 7:
                    named = all(part in row["title"] for part in wanted.text[query].split())
                    expected = 3 if named else int(right and all(wishes))
                elif right:
                    expected = 3 if all(wishes) else 2 if len(wishes) >= 2 and sum(wishes) == len(wishes) - 1 else 1
                else:
                    near = types[row["product_type"]].category in home
                    expected = int(near and bool(wishes) and all(wishes))
                assert shop.truth.grades[query, item] == expected, (wanted.text[query], row)


def test_queries_are_plain_words_and_each_can_be_answered(shop):
    data = shop.data
    assert len(set(data.queries.texts)) == len(data.queries) == 240
    groups = data.queries.attributes["group"]
    assert set(groups) == {"type", "color", "feature", "paraphrase", "brand", "price", "size", "model"}
    assert min(np.unique(groups, return_counts=True)[1]) >= 5
    assert (shop.truth.grades == 3).any(1).all()
    for text, group in zip(data.queries.texts, groups, strict=True):
        assert (group == "price") == text.startswith("cheap ")
    said = {said for said, _ in words.FEATURES.values()}
    assert all(
        any(t.endswith(s) for s in said) for t, g in zip(data.queries.texts, groups, strict=True) if g == "paraphrase"
    )
    task = query_task(data)
    assert best_possible_ndcg(task, len(data.catalog)) == 1
    graded = np.zeros_like(shop.truth.grades)
    graded[data.judgments.items.groups, data.judgments.items.values] = data.judgments.grades
    np.testing.assert_array_equal(graded, shop.truth.grades)
    zeros = np.bincount(data.judgments.items.groups[data.judgments.grades == 0], minlength=240)
    assert 15 < zeros.mean() < 60


def test_clicks_are_biased_by_position_as_the_truth_says():
    world = shop_world(items=600, users=200, queries=120, lists=8000, rng=2)
    shown, truth = world.data.impressions, world.truth
    grade = truth.grades[shown.query, shown.item]
    for place in (0, 1, 3, 9):
        for g in (0, 3):
            mask = (shown.position == place) & (grade == g)
            expected = truth.propensities[place] * truth.attraction[g]
            error = np.sqrt(expected * (1 - expected) / mask.sum())
            assert shown.outcome[mask].mean() == pytest.approx(expected, abs=4.5 * error)
    # The naive click rate misleads; weighting by the propensities gives the attraction back.
    weighted = shown.outcome / truth.propensities[shown.position]
    for g in range(4):
        mask = grade == g
        assert weighted[mask].mean() == pytest.approx(truth.attraction[g], abs=0.05)
        assert shown.outcome[mask].mean() < truth.attraction[g]


def test_at_the_end_of_the_dial_grades_and_clicks_have_nothing_to_do_with_the_items():
    world = shop_world(items=600, users=100, queries=200, randomness=1.0, rng=3)
    data, truth = world.data, world.truth
    graded = np.zeros_like(truth.grades)
    graded[data.judgments.items.groups, data.judgments.items.values] = data.judgments.grades
    relation = np.corrcoef(graded.ravel(), truth.grades.ravel())[0, 1]
    between = np.corrcoef(graded.mean(1), truth.grades.mean(1))[0, 1]
    assert between > 0.99  # the same grades, per query,
    inside = [np.corrcoef(a, b)[0, 1] for a, b in zip(graded, truth.grades, strict=True)]
    assert abs(np.nanmean(inside)) < 0.02  # on other items
    assert relation < 0.2
    task = query_task(data)
    assert best_possible_ndcg(task, 600, 1.0) < 0.1


def test_price_and_stock_changes_follow_the_log(shop):
    updates = shop.truth.updates
    assert updates.num_rows == 3000
    when = np.asarray(updates.column("time"))
    assert (np.diff(when) >= 0).all()
    assert when.min() >= shop.data.interactions.time.max() - 100
    assert (shop.data.catalog.ids.find(updates.column("item_id")) >= 0).all()
    assert updates.column("in_stock").to_pylist() == [stock > 0 for stock in updates.column("stock").to_pylist()]
    assert 0 < updates.column("in_stock").to_pylist().count(False) < 1500
    current = np.asarray(shop.data.catalog.table.column("price"))[shop.data.catalog.ids.find(updates.column("item_id"))]
    ratio = np.asarray(updates.column("price")) / current
    assert ratio.min() > 0.55
    assert ratio.max() < 1.2
    assert (np.abs(ratio - 1) > 0.05).mean() > 0.3


def test_the_smallest_shop_is_a_whole_one():
    world = shop_world(items=50, users=1, queries=1, lists=1, updates=1)
    assert len(world.data.catalog) == 50
    assert len(world.data.interactions) >= 3
    assert len(world.data.queries) == len(world.data.judgments) == 1
    assert (world.truth.items.released[world.data.impressions.item] <= world.data.impressions.time).all()


def test_a_seed_is_a_shop():
    small = {"items": 200, "users": 30, "queries": 20, "lists": 20}
    with pytest.raises(RequestError, match="at least 50 items"):
        shop_world(items=10)
    prints = [shop_world(**small, rng=seed).data.fingerprint for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]
