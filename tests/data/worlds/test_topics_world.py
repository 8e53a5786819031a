"""Words alone, meaning alone and both together on the text world, and the variants where nothing can be added."""

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import svds

from itemspace.core.errors import RequestError
from itemspace.core.topk import top_k
from itemspace.data.splits import query_task, split_queries
from itemspace.data.worlds import best_possible_ndcg, topics


def bag(texts, vocabulary=None):
    """Word counts [texts, words], and the vocabulary."""
    split = [text.lower().split() for text in texts]
    known = vocabulary or {word: i for i, word in enumerate(sorted({word for words in split for word in words}))}
    cells = [(row, known[word]) for row, words in enumerate(split) for word in words if word in known]
    rows, columns = zip(*cells, strict=True)
    return sparse.csr_matrix((np.ones(len(cells)), (rows, columns)), (len(split), len(known))), known


def unit(matrix):
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)


def score(world, dimensions=64):
    """Lexical (sum of idf of the shared words), learned (latent semantic analysis) and both by standard scores [q, n]."""
    catalog = world.data.catalog
    documents, words = bag(catalog.texts(["title", "description"]))
    queries, _ = bag(world.data.queries.texts, words)
    idf = np.log(len(catalog) / np.asarray((documents > 0).sum(0)).ravel())
    lexical = (queries.multiply(idf) @ (documents > 0).T).toarray()
    weighted = documents.multiply(idf).tocsr()
    weighted = weighted.multiply(1 / np.sqrt(weighted.multiply(weighted).sum(1))).tocsr()
    left, values, right = svds(weighted, k=dimensions, random_state=0)
    learned = unit(queries.multiply(idf) @ right.T) @ unit(left * values).T
    standard = [(s - s.mean(1, keepdims=True)) / (s.std(1, keepdims=True) + 1e-9) for s in (lexical, learned)]
    return {"lexical": lexical, "learned": learned, "both": standard[0] + standard[1], "truth": world.truth.grades}


def ndcg(scores, task, k=10):
    """nDCG@10 of every query; ties at random."""
    scores = scores + np.random.default_rng(0).random(scores.shape) * 1e-6
    gains, _ = task.judgments.gains(top_k(scores.astype(np.float32), k)[0])
    discount = 1 / np.log2(np.arange(2, k + 2))
    return (gains @ discount) / (task.judgments.ideal_gains(k) @ discount)


@pytest.fixture(scope="module")
def world():
    return topics()


@pytest.fixture(scope="module")
def measured(world):
    task = query_task(world.data)
    return {name: ndcg(scores, task) for name, scores in score(world).items()}, task.groups["group"]


def test_each_half_is_held_by_another_and_both_together_beat_either(measured):
    of, group = measured
    mean = {name: {kind: values[group == kind].mean() for kind in np.unique(group)} for name, values in of.items()}
    assert mean["lexical"]["exact"] > 0.99
    assert mean["learned"]["paraphrase"] > mean["lexical"]["paraphrase"] + 0.15
    assert mean["lexical"]["exact"] > mean["learned"]["exact"] + 0.03
    # Per query, both against the better of the two: paired, more than three standard errors above.
    best = max(("lexical", "learned"), key=lambda name: of[name].mean())
    gain = of["both"] - of[best]
    assert gain.mean() > 3 * gain.std() / np.sqrt(len(gain))
    assert gain.mean() > 0.03
    assert of["truth"].mean() == pytest.approx(1.0)


def test_without_synonyms_words_are_all_there_is():
    world = topics(synonyms=False)
    task, scores = query_task(world.data), score(world)
    assert ndcg(scores["lexical"], task).mean() > 0.995
    assert ndcg(scores["both"], task).mean() <= ndcg(scores["lexical"], task).mean() + 0.005


@pytest.mark.parametrize("randomness", [0.5, 1.0])
def test_the_dial_takes_the_text_away(randomness):
    world = topics(randomness=randomness, rng=1)
    task, scores = query_task(world.data), score(world)
    best = best_possible_ndcg(task, len(world.data.catalog), randomness)
    assert ndcg(scores["truth"], task).mean() == pytest.approx(best, abs=0.09 if randomness < 1 else 0.02)
    for name in ("lexical", "learned", "both"):
        assert ndcg(scores[name], task).mean() < best + (0.05 if randomness < 1 else 0.02)
    if randomness == 1:
        assert best < 0.05


def test_the_best_possible_is_what_random_rankings_average_at_the_end_of_the_dial():
    world = topics(items=100, topics=3, randomness=1.0, queries=100, rng=2)
    task, rng = query_task(world.data), np.random.default_rng(0)
    found = [ndcg(rng.random((len(task), 100)), task).mean() for _ in range(60)]
    assert best_possible_ndcg(task, 100, 1.0) == pytest.approx(np.mean(found), abs=4 * np.std(found) / np.sqrt(60))


def test_grades_follow_from_the_words_alone(world):
    """The grades again, from titles, the vocabulary and who has which concept."""
    truth = world.truth
    meaning = {word: concept for concept, word in enumerate(truth.query_words)}
    titles = [set(title.split()) for title in world.data.catalog.table.column("title").to_pylist()]
    rng = np.random.default_rng(0)
    for query in rng.choice(len(world.data.queries), 60, replace=False).tolist():
        words = world.data.queries.texts[query].split()
        for item in rng.choice(len(titles), 200).tolist():
            met = [truth.concepts[item, meaning[w]] if w in meaning else w in titles[item] for w in words]
            exact = world.data.queries.attributes["group"][query] == "exact"
            expected = 3 if all(met) else int(any(met) and not exact)
            assert truth.grades[query, item] == expected


def test_all_that_is_good_is_judged_and_nothing_twice(world):
    judgments, truth = world.data.judgments, world.truth
    graded = np.zeros_like(truth.grades)
    graded[judgments.items.groups, judgments.items.values] = judgments.grades
    np.testing.assert_array_equal(graded, truth.grades)
    assert (judgments.grades == 0).any()


def test_clicks_tell_synonyms_and_no_logged_query_is_judged(world):
    shown, truth = world.data.impressions, world.truth
    assert not set(shown.queries) & set(world.data.queries.texts)
    first = [text.split()[-1] for text in shown.queries]
    meaning = {word: concept for concept, word in enumerate(truth.query_words)}
    concept = np.array([meaning.get(word, -1) for word in first])[shown.query]
    asked = concept >= 0
    has = truth.concepts[shown.item[asked], concept[asked]]
    clicked = shown.outcome[asked] > 0
    assert has[clicked].mean() > has[~clicked].mean() + 0.2
    # What is clicked at a position falls with its propensity, for equally good items.
    good = topics_grade_three(world, shown)
    rate = [shown.outcome[good & (shown.position == place)].mean() for place in range(2)]
    np.testing.assert_allclose(rate, truth.attraction[3] * truth.propensities[:2], atol=0.12)


def topics_grade_three(world, shown):
    """Impressions of exact queries whose item has both words in its title."""
    titles = [set(title.split()) for title in world.data.catalog.table.column("title").to_pylist()]
    both = [set(text.split()) <= titles[item] for text, item in zip_texts(shown)]
    return np.array(both)


def zip_texts(shown):
    return [(shown.queries[query], item) for query, item in zip(shown.query.tolist(), shown.item.tolist(), strict=True)]


def test_what_cannot_be_made_is_refused():
    for options in ({"items": 500, "series": 20}, {"per_item": 1}, {"per_item": 7}):
        with pytest.raises(RequestError, match="cannot be made"):
            topics(**options)


def test_a_seed_is_a_world_and_halves_are_stable():
    one, same, other = topics(queries=40), topics(queries=40), topics(queries=40, rng=1)
    assert one.data.fingerprint == same.data.fingerprint != other.data.fingerprint
    assert len(one.data.queries) == 40
    tune, measure = split_queries(one.data, rng=3)
    assert len(tune) == len(measure) == 20
