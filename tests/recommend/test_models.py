"""Each simple model against a computation anyone can check."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.errors import CapacityError, ContractError, DataError, RequestError
from itemspace.core.interactions import Interactions
from itemspace.core.requests import Requests
from itemspace.recommend import BPRMF, EASE, Counting, ItemKNN, Popularity
from itemspace.recommend import item_knn as item_knn_module
from itemspace.recommend import links as links_module
from itemspace.recommend.base import strongest, user_item_matrix

DAY = 86_400


def dataset(histories: dict[str, str], *, times: list[int] | None = None, extra: str = "") -> Dataset:
    """A dataset from one string of one-letter items per user; `extra` items have no events."""
    items = sorted({item for history in histories.values() for item in history} | set(extra))
    catalog = Catalog.from_table(pa.table({"item_id": items}))
    users = [user for user, history in histories.items() for _ in history]
    events = [item for history in histories.values() for item in history]
    time = None if times is None else np.array(times, np.int64)
    return Dataset(catalog, Interactions.from_columns(users, events, items=catalog.ids, time=time))


def asked(data: Dataset, *histories: str) -> Requests:
    return Requests.histories([data.catalog.rows(list(history)) for history in histories])


def scores(model: Popularity, data: Dataset, history: str, items: str) -> list[float]:
    return model.score(asked(data, history), data.catalog.rows(list(items))[None])[0].tolist()


def random_dataset(users: int = 80, items: int = 30, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    letters = [chr(0x4E00 + i) for i in range(items)]
    weight = 1 / np.arange(1, items + 1)
    return dataset(
        {
            f"u{u}": "".join(rng.choice(letters, rng.integers(2, 9), replace=False, p=weight / weight.sum()))
            for u in range(users)
        }
    )


def test_popularity_counts_and_breaks_ties_by_the_hash_of_the_id():
    data = dataset({"1": "aab", "2": "ac", "3": "c"}, extra="z")
    model = Popularity()
    model.fit(data)
    hits = model.search(asked(data, ""), 4)
    assert hits.items(0) == ["a", "c", "b", "z"]
    assert hits.scores[0, :3].tolist() == [3, 2, 1]
    even = dataset({"1": "abcdefgh"})
    model.fit(even)
    ties = even.catalog.ids.ties
    order = [even.catalog.ids[row] for row in np.argsort(ties)]
    assert model.search(asked(even, ""), 8).items(0) == order


def test_popularity_halves_with_age():
    data = dataset({"1": "ab"}, times=[0, 10 * DAY])
    model = Popularity(half_life_days=10)
    model.fit(data)
    assert scores(model, data, "", "ab") == pytest.approx([0.5, 1.0])
    undated = dataset({"1": "ab"})
    assert "no times" in Popularity(half_life_days=10).fit(undated).notes[0]


def test_counting_counts_followers_by_distance_and_recency():
    data = dataset({"1": "abc", "2": "ab", "3": "cb"})
    model = Counting(window=2, distance_decay=0.5, backward=0.0, popularity_power=0.0, recency_decay=0.5)
    model.fit(data)
    # After a: b twice at distance 1, c once at distance 2. After c: b once. After b: c once.
    assert scores(model, data, "a", "bc") == pytest.approx([2.0, 0.5])
    assert scores(model, data, "ac", "b") == pytest.approx([0.5 * 2.0 + 1.0])
    explained = model.explain(asked(data, "ac"), data.catalog.rows(["b"])[None])
    a, c = data.catalog.rows(["a", "c"])
    assert explained.top(0, 0) == [(c, 1.0), (a, 1.0)] or explained.top(0, 0) == [(a, 1.0), (c, 1.0)]


def test_counting_backward_and_popularity():
    data = dataset({"1": "ab", "2": "cb", "3": "db", "4": "dc"})
    model = Counting(window=1, backward=0.5, popularity_power=0.5, recency_decay=1.0)
    model.fit(data)
    # d -> b once and d -> c once; b has 3 events, c has 2. b -> d only backward.
    assert scores(model, data, "d", "bc") == pytest.approx([3**-0.5, 2**-0.5])
    assert scores(model, data, "b", "d") == pytest.approx([0.5 * 2**-0.5])


def test_item_knn_is_the_shrunk_cosine(monkeypatch):
    data = random_dataset()
    matrix = user_item_matrix(data.interactions).toarray()
    both, norm = matrix.T @ matrix, np.sqrt(matrix.sum(0))
    expected = both / (np.outer(norm, norm) + 3.0)
    np.fill_diagonal(expected, 0)
    for pairs in (links_module.BLOCK_PAIRS, 50):  # one block, and many
        monkeypatch.setattr(links_module, "BLOCK_PAIRS", pairs)
        found = item_knn_module.nearest_items(user_item_matrix(data.interactions), 1000, 3.0)
        np.testing.assert_allclose(found.toarray(), expected, rtol=1e-5)
    model = ItemKNN(neighbors=1000, shrinkage=3.0, recency_decay=0.5)
    model.fit(data)
    history = np.array([4, 9, 2], np.int32)
    got = model.score(Requests.histories([history]), np.arange(30, dtype=np.int32)[None])[0]
    want = 0.25 * expected[4] + 0.5 * expected[9] + expected[2]
    np.testing.assert_allclose(got[want > 0], want[want > 0], rtol=1e-5)
    assert (got[want == 0] < 0).all()


def test_strongest_keeps_the_largest_of_every_row():
    data = random_dataset(seed=1)
    full = item_knn_module.nearest_items(user_item_matrix(data.interactions), 1000, 0.0)
    cut = strongest(full, 4).toarray()
    for row, dense in zip(cut, full.toarray(), strict=True):
        assert (row > 0).sum() == min(4, (dense > 0).sum())
        np.testing.assert_array_equal(np.sort(row[row > 0]), np.sort(dense)[::-1][: (row > 0).sum()][::-1])


def test_ease_solves_its_problem():
    data = random_dataset(users=200)
    model = EASE(regularization=5.0)
    model.fit(data)
    matrix = user_item_matrix(data.interactions).toarray().astype(float)
    weights = np.asarray(model._weights, float)
    assert np.abs(np.diag(weights)).max() == 0
    # At the optimum the gradient X'(XB - X) + lambda B is zero off the diagonal.
    gradient = matrix.T @ (matrix @ weights - matrix) + 5.0 * weights
    np.fill_diagonal(gradient, 0)
    assert np.abs(gradient).max() < 1e-2
    explained = model.explain(Requests.histories([[1, 2, 3]]), np.array([[7, 8]]))
    got = model.score(Requests.histories([[1, 2, 3]]), np.array([[7, 8]]))
    np.testing.assert_allclose(explained.values.sum(0), got[0], rtol=1e-4, atol=1e-6)


def test_ease_refuses_a_catalogue_beyond_its_limit():
    with pytest.raises(CapacityError, match=r'Use solver="sparse" .* max_items'):
        EASE(max_items=20, solver="dense").fit(random_dataset())


def test_explanations_add_up_to_the_score():
    data = random_dataset()
    for model in (Counting(), ItemKNN()):
        model.fit(data)
        requests = Requests.histories([[1, 2, 3], [5], [6, 0]])
        hits = model.search(requests.excluding_history(), 2)
        added = model.explain(requests, hits.rows)
        total = np.stack(
            [added.values[a:b].sum(0) for a, b in zip(added.events.offsets, added.events.offsets[1:], strict=False)]
        )
        np.testing.assert_allclose(total, hits.scores, rtol=1e-5)


def test_items_without_evidence_follow_by_popularity():
    data = dataset({"1": "ab", "2": "ab", "3": "cd", "4": "ce", "5": "c"})
    model = ItemKNN()
    model.fit(data)
    assert model.search(asked(data, "a").excluding_history(), 4).items(0)[:2] == ["b", "c"]


def test_bpr_vectors_of_a_history_rank_it_first():
    data = random_dataset(users=300)
    model = BPRMF(embedding_size=16, epochs=60, batch_size=256, regularization=0.001, fold_in=0.01)
    model.fit(data)
    histories = data.interactions.histories
    hits = model.search(Requests.histories(histories), 8)
    own = np.zeros((len(histories), 30), bool)
    own[histories.groups, histories.values] = True
    inside = own[np.arange(len(histories))[:, None], hits.rows].sum(1) / np.minimum(histories.lengths, 8)
    assert inside.mean() > 0.7


def test_bpr_answers_a_known_user_without_a_history():
    data = random_dataset(users=300)
    model = BPRMF(embedding_size=8, epochs=20, batch_size=256)
    model.fit(data)
    rows = model.search(Requests(user=np.arange(20, dtype=np.int32)), 5).rows
    assert len({tuple(row) for row in rows.tolist()}) > 1
    unknown = model.search(Requests(user=np.array([-1], np.int32)), 5).rows[0]
    counts = data.interactions.counts()
    np.testing.assert_array_equal(counts[unknown], np.sort(counts)[::-1][:5])


def test_errors_say_what_to_do():
    data = random_dataset()
    with pytest.raises(ContractError, match="not fitted"):
        ItemKNN().search(Requests.histories([[1]]), 3)
    with pytest.raises(DataError, match="--interactions"):
        ItemKNN().fit(Dataset(data.catalog))
    model = Popularity()
    model.fit(data)
    with pytest.raises(RequestError, match="k must be"):
        model.search(Requests.histories([[1]]), 0)
    with pytest.raises(RequestError, match="history or user"):
        model.search(Requests.texts(["boots"]), 3)


def test_importing_recommenders_imports_no_torch():
    code = "import sys, itemspace.recommend; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_where_strings_are_read_by_the_catalogue():
    items = list("abcdef")
    catalog = Catalog.from_table(pa.table({"item_id": items, "price": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}))
    data = Dataset(catalog, Interactions.from_columns(list("111222"), list("abcabd"), items=catalog.ids))
    model = Popularity()
    model.fit(data)
    hits = model.search(asked(data, ""), 3, where="price > 2 and price < 6")
    assert set(hits.items(0)) == {"c", "d", "e"}
    assert hits.items(0)[2] == "e"
    assert hits.total.tolist() == [3]


def test_sasrec_continues_from_its_checkpoint_to_the_same_answers(tmp_path):
    pytest.importorskip("torch")
    from itemspace.recommend import SASRec

    data = random_dataset(users=60)
    sizes = {"embedding_size": 8, "num_layers": 1, "num_heads": 1, "inner_size": 8, "max_length": 8, "batch_size": 16}
    whole = SASRec(**sizes, epochs=4)
    whole.fit(data)

    class Killed(Exception):
        pass

    def kill(epoch: int, *_: object) -> None:
        if epoch == 2:
            raise Killed

    broken = SASRec(**sizes, epochs=4)
    broken.checkpoint, broken.on_epoch = tmp_path / "fit", kill
    with pytest.raises(Killed):
        broken.fit(data)
    resumed = SASRec(**sizes, epochs=4)
    resumed.checkpoint = tmp_path / "fit"
    resumed.fit(data)
    np.testing.assert_array_equal(resumed.item_vectors(), whole.item_vectors())
    other = SASRec(**{**sizes, "dropout": 0.1}, epochs=4)
    other.checkpoint = tmp_path / "fit"
    assert other.fit(data).epochs == 4
    assert len(other.fit(data).curve["loss"]) == 4


def test_sasrec_warm_start_keeps_what_was_learned():
    pytest.importorskip("torch")
    from itemspace.recommend import SASRec

    data = random_dataset(users=60)
    model = SASRec(
        embedding_size=8, num_layers=1, num_heads=1, max_length=8, epochs=30, batch_size=16, learning_rate=0.01
    )
    cold = model.fit(data).curve["loss"]
    again = type(model)(model.config.model_copy(update={"epochs": 1}))
    assert again.fit(data, warm=model).curve["loss"][0] < cold[0] - 0.2
