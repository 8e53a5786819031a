"""The map of a Space and its kept reports."""

import os
import threading

import numpy as np
import pytest

from itemspace.core.errors import ArtifactError, RequestError, SchemaError
from itemspace.data.worlds.shop import demo_shop
from itemspace.space import Space, mapping


@pytest.fixture
def quick(monkeypatch):
    """Principal components: what is tested here is which items are where, not how pretty."""
    calls = []

    def laid(vectors, **options):
        calls.append(len(vectors))
        return layout(vectors, method="pca", **options)

    layout = mapping.layout
    monkeypatch.setattr(mapping, "layout", laid)
    return calls


def test_a_map_has_every_item_its_label_and_its_color(space, quick):
    made = space.map(color="category")
    catalog = space.catalog
    assert len(made) == catalog.count
    assert made.ids == list(catalog.ids.decode(made.rows))
    assert made.labels == [catalog.table["title"][int(row)].as_py() for row in made.rows]
    for color, row in zip(made.colors.tolist(), made.rows.tolist(), strict=True):
        assert made.color_names[color] in (catalog.table["category"][row].as_py(), "other")
    assert len(made.color_names) <= 12
    assert np.abs(np.stack([made.x, made.y])).max() == 1.0
    assert len(np.unique(space.map(color="brand").colors)) <= 12


def test_it_is_computed_once_and_kept_for_others(space, quick):
    made = space.map()
    assert quick == [400]
    with Space.open(space.path) as again:
        other = again.map(color="category")
    assert quick == [400]
    assert np.array_equal(other.x, made.x)
    assert np.array_equal(other.rows, made.rows)
    for path in (space.path / "maps").glob("*.parquet"):
        path.write_bytes(b"damaged")
    assert np.allclose(space.map().x, made.x)
    assert quick == [400, 400]


def test_it_follows_changes_without_moving_the_rest(space, quick):
    made = space.map()
    where = dict(zip(made.ids, zip(made.x, made.y, strict=True), strict=True))
    twin, gone = made.ids[3], made.ids[7]
    space.remove([gone])
    space.update([{"item_id": made.ids[9], "price": 1.0}])
    space.add([space.catalog.item(twin) | {"item_id": "NEW"}])
    now = space.map()
    assert quick == [400]
    places = dict(zip(now.ids, zip(now.x, now.y, strict=True), strict=True))
    assert gone not in places
    assert {name: place for name, place in places.items() if name != "NEW"} == {
        n: p for n, p in where.items() if n != gone
    }
    assert np.allclose(places["NEW"], where[twin], atol=0.15)
    assert "1 placed by the most alike" in now.note
    with Space.open(space.path) as again:
        assert again.map().ids == now.ids
    assert quick == [400]
    space.add([{"item_id": f"N{i}", "title": f"thing {i}"} for i in range(200)])
    assert len(space.map()) == 600
    assert quick == [400, 600]


def test_a_sample_is_the_same_whatever_is_added(space, quick):
    some = space.map(limit=50)
    assert len(some) == 50
    assert "a sample of 50 of 400" in some.note
    space.add([{"item_id": "NEW", "title": "thing"}])
    assert space.map(limit=50).ids == some.ids
    ties = space.catalog.ids.ties
    assert set(some.rows.tolist()) == set(np.argsort(ties[:400])[:50].tolist())


def test_by_behavior_only_items_with_events_have_a_place(space, quick):
    made = space.map(by="behavior")
    counts = space.dataset().interactions.counts()
    assert set(made.rows.tolist()) == set(np.flatnonzero(counts).tolist())
    assert made.note.startswith("By behavior")


def test_two_at_once_make_it_once(space, quick):
    makers = [threading.Thread(target=space.map) for _ in range(3)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert quick == [400]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_space_that_may_only_be_read_has_a_map_too(space, quick):
    os.chmod(space.path, 0o555)
    try:
        assert len(space.map()) == 400
    finally:
        os.chmod(space.path, 0o755)


def test_what_cannot_be_mapped_is_refused(space):
    for options in ({"by": "txt"}, {"limit": 0}, {"limit": True}, {"color": "price"}):
        with pytest.raises(RequestError):
            space.map(**options)
    with pytest.raises(SchemaError, match="colour"):
        space.map(color="colour")


def test_reports_are_kept_and_show_when_they_are_stale(tmp_path):
    with Space.build(demo_shop(150, 80, rng=1), path=tmp_path / "shop.space", recipe={"encoder": False}) as space:
        assert space.last_report() is None
        made = space.evaluate(k=5)
        kept = space.last_report()
        assert set(kept) == set(made)
        for name, report in kept.items():
            assert report.measures == made[name].measures
            about = report.provenance["kept"]
            assert (about["generation"], about["version"], about["stale"]) == ("000001", space.version, False)
        space.update([{"item_id": space.catalog.ids[0], "price": 2.0}])
        assert all(report.provenance["kept"]["stale"] for report in space.last_report().values())
        space.evaluate(k=3, keep=False)
        assert space.last_report()["recommendation"].metrics == made["recommendation"].metrics
        Space.build(demo_shop(150, 80, rng=2), path=space.path, recipe={"encoder": False}, replace=True).close()
        path = space.path / "reports" / "search.json"
        path.write_text("{")
        with pytest.raises(ArtifactError):
            space.last_report()
