"""`evaluate`, `compare`, slices and filtered evaluation, through retrievers whose right answers are known."""

import numpy as np
import pyarrow as pa
import pytest

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Retriever, Scorer
from itemspace.core.errors import ContractError, RequestError
from itemspace.core.hits import Hits
from itemspace.core.interactions import Interactions
from itemspace.core.judgments import Judgments
from itemspace.core.plugins import find
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.core.task import Task
from itemspace.core.topk import top_k, top_k_reference
from itemspace.data.splits import leave_one_out
from itemspace.data.worlds.checkerboard import checkerboard
from itemspace.evaluate import Items, compare, evaluate, evaluate_filtered, evaluate_hits, evaluate_scores, item_facts
from itemspace.evaluate.slices import from_labels, popularity_band, slices_of

Q, N = 300, 120


class Table(Retriever, Scorer):
    """Answers request `user` from row `user` of a score table, with every limit obeyed: slow and obvious."""

    def __init__(self, scores):
        self.scores, self.asked = np.asarray(scores, np.float32), []

    def allowed(self, requests, where):
        chosen = (where or Selection.all(self.scores.shape[1])).excluding(requests.exclude)
        return [chosen.rows_for(i) for i in range(len(requests))]

    def search(self, requests, k, where=None):
        self.asked.append((len(requests), k))
        block = np.full((len(requests), self.scores.shape[1]), -np.inf, np.float32)
        for i, rows in enumerate(self.allowed(requests, where)):
            block[i, rows] = self.scores[requests.user[i], rows]
        return Hits(*top_k(block, k))

    def score(self, requests, candidates):
        found = self.scores[requests.user[:, None], np.maximum(candidates, 0)]
        return np.where(candidates < 0, -np.inf, found)


class Forgetful(Table):
    """Cuts to the ten best first and filters afterwards: the bug that filtered evaluation must show."""

    def search(self, requests, k, where=None):
        rows, scores = top_k(self.scores[requests.user], k)
        for i, allowed in enumerate(self.allowed(requests, where)):
            lost = ~np.isin(rows[i], allowed)
            rows[i, lost], scores[i, lost] = -1, -np.inf
        return Hits.ranked(rows, scores)


class Careless(Table):
    """Ignores the filter."""

    def search(self, requests, k, where=None):
        return super().search(requests, k)


def world(seed=0, signal=1.0):
    """A leave-one-out task and scores that favor the target by `signal`."""
    rng = np.random.default_rng(seed)
    target = (rng.random(Q) ** 2 * N).astype(np.int64)
    scores = rng.normal(size=(Q, N)).astype(np.float32)
    scores[np.arange(Q), target] += signal
    history = [np.setdiff1d(rng.integers(0, N, rng.integers(1, 30)), [t]) for t in target]
    requests = Requests.histories(Ragged.from_lists(history), user=np.arange(Q, dtype=np.int32))
    return Task("world", requests, Judgments.single(target)), scores, target


def search_world(judged=0.5, seed=0):
    rng = np.random.default_rng(seed)
    relevance = rng.integers(0, 4, (40, N)) * (rng.random((40, N)) < 0.2)
    query, item = np.nonzero((rng.random((40, N)) < judged) | np.eye(40, N, dtype=bool))
    judgments = Judgments.from_pairs(query, item, relevance[query, item], 40)
    requests = Requests.texts([f"word {'more ' * (i % 6)}" for i in range(40)], user=np.arange(40, dtype=np.int32))
    return Task("shop", requests, judgments), (relevance + rng.normal(size=relevance.shape)).astype(np.float32)


def test_full_ranking_in_batches_equals_the_rank_of_the_target():
    task, scores, target = world()
    found = evaluate(Table(scores), task, ["recall@10", "mrr", "ndcg@10"], k=N, batch_size=64)
    for i in range(Q):
        mine = scores[i].copy()
        mine[task.requests.history.items[i]] = -np.inf
        rank = int((mine > mine[target[i]]).sum()) + 1
        assert found.per_query("recall@10").values[i] == (rank <= 10)
        assert found.per_query("mrr").values[i] == pytest.approx(1 / rank)
        assert found.per_query("ndcg@10").values[i] == pytest.approx(1 / np.log2(rank + 1) if rank <= 10 else 0)
    assert found["recall@10"] == found.per_query("recall@10").mean
    assert found.seconds > 0


def test_a_random_retriever_scores_at_chance_and_an_oracle_at_one():
    task, scores, target = world(signal=0.0)
    free = N - task.requests.history.items.lengths.mean()
    assert abs(evaluate(Table(scores), task, ["recall@10"])["recall@10"] - 10 / free) < 0.07
    scores[np.arange(Q), target] = 100
    assert evaluate(Table(scores), task, ["recall@10", "ndcg@1", "mrr"])["mrr"] == 1.0


def test_batches_depth_and_the_task_rules_reach_the_retriever():
    task, scores, _ = world()
    table = Table(scores)
    found = evaluate(table, task, ["recall@20"], batch_size=128)
    assert table.asked == [(128, 20), (128, 20), (44, 20)]
    histories = task.requests.history.items
    assert not any(np.isin(found.hits.rows[i], histories[i]).any() for i in range(Q))
    allowed = Task("world", task.requests, task.judgments, exclude_history=False)
    seen = evaluate(Table(scores), allowed, ["recall@20"]).hits.rows
    assert any(np.isin(seen[i], histories[i]).any() for i in range(Q))
    some = Task("world", task.requests, task.judgments, candidates=Selection.of_rows(np.arange(0, N, 2), N))
    assert (evaluate(Table(scores), some, ["recall@20"]).hits.rows % 2 <= 0).all()


def test_a_ready_score_matrix_gives_the_same_numbers():
    task, scores, _ = world()
    include = Ragged.from_lists([np.arange(i % 5, N) for i in range(Q)])
    task = Task("world", task.requests, task.judgments, candidates=Selection(N, np.arange(N - 3), include))
    one, other = evaluate(Table(scores), task), evaluate_scores(scores, task, batch_size=77)
    np.testing.assert_array_equal(one.hits.rows, other.hits.rows)
    np.testing.assert_array_equal(one.table(), other.table())


def test_what_breaks_the_contract_is_refused():
    task, scores, _ = world()

    class Short(Table):
        def search(self, requests, k, where=None):
            return super().search(requests.take(np.arange(1)), k, where)

    class Twice(Table):
        def search(self, requests, k, where=None):
            hits = super().search(requests, k, where)
            hits.rows[5, 3] = hits.rows[5, 0]
            return hits

    with pytest.raises(ContractError, match="answered 1 of 300"):
        evaluate(Short(scores), task)
    with pytest.raises(ContractError, match="more than once for request 5"):
        evaluate(Twice(scores), task)
    with pytest.raises(RequestError, match=r"cut at 5.*recall@10"):
        evaluate_hits(Hits(*top_k(scores, 5)), task, ["recall@10"])
    with pytest.raises(RequestError, match="Did you mean `wide`"):
        compare({"wide": Table(scores)}, task, baseline="wid")
    other, _, _ = world(seed=1)
    with pytest.raises(RequestError, match="other requests"):
        compare({"a": evaluate(Table(scores), task), "b": evaluate(Table(scores), other)}, task)


def test_incomplete_judgments_bring_their_companions():
    task, scores = search_world(judged=0.5)
    report = compare({"a": Table(scores), "b": Table(-scores)}, task, ["ndcg@10", "recall@100"])
    assert report.metrics == ("ndcg@10", "judged@10", "bpref", "judged-ndcg@10", "recall@100")
    assert 0.2 < report.value("judged@10", "a") < 0.8
    assert any("Judgments are incomplete" in note for note in report.notes)


def test_complete_judgments_need_none():
    task, scores = search_world(judged=1.0)
    report = compare({"a": Table(scores)}, task, ["ndcg@10"])
    assert report.metrics == ("ndcg@10",)
    assert not any("incomplete" in note for note in report.notes)


def test_the_headline_names_the_measure_that_disagrees():
    """One arm fills its list with unjudged items, in whose gaps the judged ones are in perfect order: nDCG is fooled."""
    judgments = Judgments.from_pairs(
        np.repeat(np.arange(30), 4), np.tile([0, 1, 2, 3], 30), np.tile([1, 0, 1, 0], 30), 30
    )
    task = Task("gaps", Requests.texts(["q"] * 30, user=np.zeros(30, np.int32)), judgments)
    known = np.full((1, N), -9.0, np.float32)
    known[0, [1, 0, 2, 3]] = [4, 3, 2, 1]
    gaps = np.arange(N, 0, -1, dtype=np.float32)[None]
    gaps[0, :4] = [50.5, -1, 40.5, -2]
    report = compare({"known": Table(known), "gaps": Table(gaps)}, task, ["ndcg@10"])
    assert report.headline.startswith("known leads in ndcg@10")
    assert "do not settle it: bpref is led by gaps" in report.headline


def test_queries_without_an_answer_are_counted_and_told():
    task, scores = search_world(judged=1.0)
    grades = task.judgments.grades.copy()
    grades[task.judgments.items.groups < 3] = 0
    task = Task("shop", task.requests, Judgments(task.judgments.items, grades))
    report = compare({"a": Table(scores)}, task, ["ndcg@10"])
    assert report.measure("ndcg@10").n == 37
    assert report.notes[0].startswith("3 of 40 requests have no relevant item")


def test_compare_finds_the_effect_and_only_the_effect():
    task, scores, target = world(signal=1.0)
    better = scores.copy()
    better[np.arange(Q), target] += 1.0
    noise = np.random.default_rng(9).normal(size=scores.shape).astype(np.float32)
    noise[np.arange(Q), target] = scores[np.arange(Q), target]
    report = compare({"base": Table(scores), "better": Table(better), "noise": Table(noise)}, task, baseline="base")
    assert report.comparison("ndcg@10", "better").significant
    assert report.comparison("ndcg@10", "better").low > 0
    assert not report.comparison("ndcg@10", "noise").significant
    gap = report.value("ndcg@10", "better") - report.value("ndcg@10", "base")
    assert report.comparison("ndcg@10", "better").difference == pytest.approx(gap)
    assert report.comparison("ndcg@10", "better").p_holm >= report.comparison("ndcg@10", "better").p_permutation


def test_seeds_are_reported_one_by_one():
    task, scores, _ = world(signal=2.0)
    arms = [Table(scores + np.random.default_rng(s).normal(size=scores.shape)) for s in range(3)]
    report = compare({"base": Table(scores), "noisy": arms}, task, ["recall@10"])
    measure = report.measure("recall@10", "noisy")
    each = [evaluate(arm, task, ["recall@10"])["recall@10"] for arm in arms]
    np.testing.assert_allclose(measure.seeds, each)
    assert measure.value == pytest.approx(np.mean(each))
    assert measure.low < measure.value < measure.high
    assert report.provenance["seeds"] == {"base": 1, "noisy": 3}


def test_slices_partition_the_requests():
    task, scores, target = world()
    counts = np.bincount((np.random.default_rng(0).random(3_000) ** 2 * N).astype(int), minlength=N)
    counts[110:] = 0
    items = Items(N, counts)
    report = compare({"a": Table(scores)}, task, ["recall@10", "coverage@10", "novelty@10"], items=items)
    assert set(report.slices) == {"target", "history length"}
    for name, labels in report.slices.items():
        cells = [report.measure("recall@10", "a", name, label) for label in labels]
        assert sum(c.n for c in cells) == Q
        assert sum(c.value * c.n for c in cells) / Q == pytest.approx(report.value("recall@10"))
    assert report.measure("recall@10", "a", "target", "cold").n == (target >= 110).sum()
    assert np.isnan(report.measure("coverage@10").low)


def test_popularity_bands_by_hand():
    # 50 of 100 events are the first item's; the next two hold up to 80; equal counts share a band; 0 is cold.
    assert popularity_band(np.array([50, 20, 10, 10, 10, 0])).tolist() == [0, 1, 1, 1, 1, 3]
    assert popularity_band(np.array([60, 25, 8, 7, 0])).tolist() == [0, 1, 2, 2, 3]
    assert popularity_band(np.zeros(3)).tolist() == [3, 3, 3]


def test_groups_of_the_task_win_and_rare_labels_are_pooled():
    task, _, _ = world()
    labels = np.array([f"g{i % 40 if i % 2 else 0}" for i in range(Q)], dtype=object)
    labels[:5] = None
    task = Task("world", task.requests, task.judgments, groups={"history length": labels})
    (found,) = slices_of(task)
    assert found.name == "history length"
    assert len(found.labels) == 12
    assert found.labels[-1] == "other"
    assert (found.codes[:5] == -1).all()
    assert found.members("g0").sum() == (labels == "g0").sum()
    assert from_labels("n", np.array([10, 9, 100])).labels == ("9", "10", "100")
    bands = from_labels("target", np.array(["tail", "cold", "head", "tail"], object))
    assert [bands.labels[code] for code in bands.codes] == ["tail", "cold", "head", "tail"]
    assert bands.labels == ("head", "mid", "tail", "cold")


def test_query_length_and_extra_slices():
    task, scores = search_world()
    report = compare({"a": Table(scores)}, task, ["ndcg@10"], slices={"half": np.arange(40) % 2})
    assert report.slices["half"] == ("0", "1")
    assert report.slices["query length"] == ("1 word", "2 words", "3-4 words", "5-8 words")
    assert compare({"a": Table(scores)}, task, ["ndcg@10"], slices=False).slices == {}


@pytest.fixture
def shop():
    rng = np.random.default_rng(3)
    ids = [f"i{n}" for n in range(N)]
    table = pa.table({"id": ids, "price": rng.random(N) * 100, "kind": [f"k{n % 3}" for n in range(N)]})
    return Catalog.from_table(table)


def filters(shop):
    price = np.asarray(shop.column("price"))
    return {f"under {limit}": Selection.of_mask(price < limit) for limit in (3, 30, 200)}


def test_filtered_answers_are_complete_for_a_retriever_that_filters_first(shop):
    task, scores, _ = world()
    report = evaluate_filtered(Table(scores), task, filters(shop), shop)
    assert report.value("fill@10") == report.value("exact-recall@10") == 1.0
    assert report.value("forbidden@10") == 0.0
    assert len(report.slices["filter"]) == 3
    assert report.provenance["filters"]["under 200"] == N


def test_filtering_after_the_cut_shows_where_the_filter_is_narrow(shop):
    task, scores, _ = world()
    report = evaluate_filtered(Forgetful(scores), task, filters(shop), shop, reference=Table(scores))
    narrow, wide = (report.value("fill@10", slice="filter", label=f"under {x}") for x in (3, 200))
    assert narrow < 0.5 < wide < 1.0
    assert report.value("exact-recall@10", slice="filter", label="under 3") < 0.5
    assert report.value("forbidden@10") == 0.0


def test_a_filter_that_is_ignored_is_caught(shop):
    task, scores, _ = world()
    report = evaluate_filtered(Careless(scores), task, filters(shop), shop)
    assert report.value("forbidden@10", slice="filter", label="under 3") > 0.8
    assert report.value("fill@10", slice="filter", label="under 3") < 0.5


def test_ties_do_not_cost_exact_recall(shop):
    task, scores, _ = world()
    flat, tied = Table(np.ones_like(scores)), Table(np.ones_like(scores))
    assert evaluate_filtered(flat, task, filters(shop), shop, reference=tied).value("exact-recall@10") == 1.0


def test_item_facts_count_training_events_only(shop):
    train = Interactions.from_columns(["u", "u", "v"], ["i1", "i2", "i1"], items=shop.ids)
    facts = item_facts(shop, train, category="kind")
    assert facts.size == N
    assert facts.counts[shop.rows(["i1", "i2", "i3"])].tolist() == [2, 1, 0]
    kinds = facts.categories[shop.rows(["i0", "i3", "i1"])]
    assert kinds[0] == kinds[1] != kinds[2]


@pytest.mark.parametrize("name", ["counting", "item-knn", "ease", "popularity", "bpr-mf"])
def test_the_figures_are_those_of_scoring_and_sorting_everything(name: str):
    split = leave_one_out(checkerboard(items=700, users=300, blocks=7, length=(3, 9), randomness=0.3, rng=5).data)
    model = find("recommenders", name)(**({"epochs": 2} if name == "bpr-mf" else {}))
    model.fit(split.train)
    task, ties, prior = split.test, split.train.catalog.ids.ties, model._prior(700)
    scores = model._scores(task.requests, prior)
    metrics = ("ndcg@10", "recall@50", "mrr@10")
    served, sorted_ = evaluate(model, task, metrics), evaluate_scores(scores, task, metrics, ties=ties)
    for metric in metrics:
        np.testing.assert_array_equal(served.per_query(metric).values, sorted_.per_query(metric).values)
    exclude = task.prepared().exclude
    scores[exclude.groups, exclude.values] = -np.inf
    np.testing.assert_array_equal(served.hits.rows, top_k_reference(scores, 50, ties)[0])
