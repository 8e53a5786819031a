"""Changes: live at once, durable, refused whole when any of it is wrong."""

import multiprocessing

import numpy as np
import pyarrow as pa
import pytest

from itemspace.core.errors import ArtifactError, DataError, FormatVersionError, RequestError
from itemspace.space import Space
from itemspace.space.build import Build
from tests.space.conftest import RECIPE


def new_item(space, name="NEW-1", **values):
    base = space.catalog.table.slice(0, 1).to_pylist()[0]
    return {**base, "item_id": name, "title": "Zyxwv glowing lantern", "price": 12.5, "in_stock": True, **values}


def answers(space):
    asked = ["waterproof boots", "glowing lantern", "red tent"]
    users = [space._live.histories.users[i] for i in range(10)]
    hits, lists = space.search(asked, k=10, where="in_stock"), space.recommend(user=users, k=10)
    return hits.rows.tolist(), lists.rows.tolist(), np.round(hits.scores, 4).tolist()


def test_added_items_are_found_and_stay_found(space):
    before = len(space.catalog)
    assert space.add([new_item(space), new_item(space, "NEW-2", price=500.0)]) == 2
    assert len(space.catalog) == before + 2
    assert space.search("zyxwv lantern", k=1, by="lexical", where="price < 100").items() == ["NEW-1"]
    assert space.similar("NEW-1", k=1).items() == ["NEW-2"]
    assert {"NEW-1", "NEW-2"} <= set(space.search("zyxwv", k=402, by="dense").items())
    told = answers(space)
    space.close()
    with Space.open(space.path) as again:
        assert answers(again) == told
        assert again.search("zyxwv lantern", k=2, by="lexical").items() != []
        assert set(again.recommend(history=["NEW-1"], k=3).items())


def test_a_new_price_counts_at_once_and_leaves_vectors_alone(space):
    item = space.search("tent", k=1)[0][0].item
    space.update([{"item_id": item, "price": 1.25}])
    assert item in space.search("tent", k=5, where="price < 2").items()
    assert space.catalog.item(item)["price"] == 1.25
    space.update(pa.table({"item_id": [item], "title": ["Qqqq unheard of"]}))
    assert space.search("qqqq", k=1, by="lexical").items() == [item]


def test_removed_items_never_come_back(space):
    gone = space.search("boots", k=3).items()
    assert space.remove(gone) == 3
    everything = space.search("boots", k=400, by="dense").items()
    assert not set(gone) & set(everything)
    assert not set(gone) & set(space.recommend(user="nobody", k=400).items())
    assert not set(gone) & set(space.search("", k=400).items())
    assert space.remove(gone) == 0
    space.add([new_item(space, gone[0])])
    assert gone[0] in space.search("zyxwv", k=3, by="lexical").items()


def test_logged_events_move_a_known_users_recommendations(space, shop):
    user = shop.interactions.users[11]
    before = space.recommend(user=user, k=10).items()
    liked = space.similar(before[-1], by="behavior", k=3).items()
    assert space.log([{"user": user, "item": item, "event": "buy"} for item in liked]) == 3
    after = space.recommend(user=user, k=10).items()
    assert after != before
    assert not set(liked) & set(after)
    space.log([{"user": "a stranger", "item": liked[0]}])
    known = space.recommend(user="a stranger", k=5)
    assert known.explanation is None
    space.close()
    with Space.open(space.path) as again:
        assert again.recommend(user=user, k=10).items() == after


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.add([{"title": "no id"}]), "item_id"),
        (lambda s: s.add([new_item(s), new_item(s)]), "twice"),
        (lambda s: s.add([new_item(s, price="cheap")]), "price"),
        (lambda s: s.add([{**new_item(s), "colour": "red"}]), "color"),
        (lambda s: s.update([{"item_id": "nothing like it", "price": 1.0}]), "no item"),
        (lambda s: s.update([{"item_id": s.catalog.ids[0]}]), "nothing to change"),
        (lambda s: s.remove(["nothing like it"]), "unknown item"),
        (lambda s: s.log([{"user": "u", "item": "nothing like it"}]), "no item"),
        (lambda s: s.log([{"user": "u"}]), "item"),
        (lambda s: s.log([{"user": None, "item": s.catalog.ids[0]}]), "user"),
        (lambda s: s.log([{"user": "u", "item": s.catalog.ids[0], "weigth": 3}]), "weight"),
    ],
)
def test_a_bad_change_is_refused_whole(space, change, message):
    version, told = space.version, answers(space)
    with pytest.raises((DataError, RequestError), match=message):
        change(space)
    assert space.version == version
    assert answers(space) == told


def _another_process(path, pipe):
    with Space.open(path) as other:
        pipe.send(other.search("zyxwv", k=1, by="lexical").items())
        pipe.recv()
        changed = other.refresh()
        pipe.send((changed, other.search("zyxwv", k=1, by="lexical").items()))


def test_a_reader_in_another_process_follows(space):
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    reader = context.Process(target=_another_process, args=(str(space.path), there))
    reader.start()
    assert here.poll(60)
    assert here.recv() == []
    space.add([new_item(space)])
    here.send("go on")
    assert here.poll(60)
    assert here.recv() == (True, ["NEW-1"])
    reader.join(30)


def test_a_snapshot_brings_everything_back(space):
    told = answers(space)
    space.snapshot("before")
    space.add([new_item(space)])
    space.remove(space.search("boots", k=3).items())
    space.log([{"user": space._live.histories.users[0], "item": "NEW-1"}])
    assert answers(space) != told
    space.restore("before")
    assert answers(space) == told
    space.close()
    with Space.open(space.path) as again:
        assert answers(again) == told


@pytest.mark.parametrize("part", ["dense", "lexical", "catalog"])
def test_a_damaged_index_is_rebuilt_from_the_store(space, part):
    space.add([new_item(space)])
    space.remove(space.search("boots", k=2).items())
    told = answers(space)
    folder = space._artifact.folder / part
    space.close()
    for file in [*folder.glob("*.npy"), *folder.glob("*.arrow")]:
        file.unlink()
        file.write_bytes(b"not an array")
    with pytest.warns(UserWarning, match="cannot be read"), Space.open(space.path) as again:
        assert answers(again) == told


def test_an_interrupted_build_goes_on(shop, tmp_path, monkeypatch):
    path = tmp_path / "shop.space"
    finished = Build._fit_recommender

    def interrupted(self, to):
        raise KeyboardInterrupt

    monkeypatch.setattr(Build, "_fit_recommender", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Space.build(shop, path=path, recipe=RECIPE)
    with pytest.raises(ArtifactError, match="did not finish"):
        Space.open(path)
    monkeypatch.setattr(Build, "_fit_recommender", finished)
    said = []
    with Space.build(shop, path=path, recipe=RECIPE, say=said.append) as space:
        assert any("encoding" in line and "kept" in line for line in said)
        assert len(space.search("boots", k=5)[0]) == 5
    assert not (path / "stages").exists() or not any((path / "stages").iterdir())


def test_a_space_is_not_overwritten_unless_asked(space, shop):
    with pytest.raises(ArtifactError, match="replace"):
        Space.build(shop, path=space.path, recipe=RECIPE)
    space.close()
    with Space.build(shop, path=space.path, recipe=RECIPE, replace=True) as again:
        assert again._artifact.generation != space._artifact.generation


def test_a_folder_that_is_something_else_is_left_alone(shop, tmp_path):
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(ArtifactError, match=r"thesis\.txt"):
        Space.build(shop, path=tmp_path, recipe=RECIPE)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_newer_format_is_refused(space, monkeypatch):
    import itemspace.space.front as front

    monkeypatch.setattr(front, "FORMAT", 0)
    with pytest.raises(FormatVersionError, match="format"):
        Space.open(space.path)
