"""One Space under load: the same answers as alone, changes seen at once, generations taken over without a failed read."""

import asyncio
import itertools
import logging
import threading

import numpy as np
import pytest

from itemspace.core.errors import FilterError, RequestError
from itemspace.data.worlds.shop import demo_shop
from itemspace.serve.served import Overloaded, RecommendQuestion, SearchQuestion, Served, ServedOptions
from itemspace.space import Space
from tests.serve.live.conftest import RECIPE

QUERIES = ("waterproof boots", "tent", "red jacket", "cotton", "boots", "no such words at all", "warm winter gloves")


def same(hits, alone):
    """Rows, facets and totals to the letter; scores but for rounding."""
    assert hits.rows.tolist() == alone.rows.tolist()
    np.testing.assert_allclose(hits.scores, alone.scores, rtol=1e-5)
    assert (hits.total is None) == (alone.total is None)
    assert hits.total is None or hits.total.tolist() == alone.total.tolist()
    assert hits.facets == alone.facets
    assert hits.explanation == alone.explanation
    assert hits.items() == alone.items()


async def held(served):
    """Questions at a standstill until the event returned is set, so that what comes gathers."""
    gate, begun = threading.Event(), threading.Event()

    def wait(_space, _hits):
        begun.set()
        assert gate.wait(10)

    waiting = [asyncio.ensure_future(served.search(SearchQuestion("held"), wait))]
    await asyncio.to_thread(begun.wait, 10)
    return gate, waiting


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"k": 3, "where": "price < 60 and in_stock"},
        {"facets": ("color",), "by": "lexical"},
        {"sort": ("-price",), "offset": 2, "k": 4},
        {"group_by": "variant_of"},
        {"where": "price < 0"},
    ],
)
def test_searches_answered_together_are_those_answered_alone(run, path, options):
    async def use(served):
        gate, waiting = await held(served)
        asked = [asyncio.ensure_future(served.search(SearchQuestion(query, **options))) for query in (*QUERIES, " ")]
        await asyncio.sleep(0.01)
        assert len(served._reads._queue) == 2  # the blank one lists items: a question of its own
        gate.set()
        return await asyncio.gather(*asked, *waiting)

    answers = run(use)
    with Space.open(path) as space:
        for query, hits in zip((*QUERIES, " "), answers, strict=False):
            same(hits, space.search(query, **options))


def test_recommendations_answered_together_are_those_answered_alone(run, path, shop):
    items = [str(item) for item in shop.catalog.ids.values[:6].to_pylist()]
    users = [str(user) for user in shop.interactions.users.values[:4].to_pylist()]
    questions = [RecommendQuestion(user=user, k=5) for user in (*users, "nobody", "nobody else")]
    questions += [RecommendQuestion(history=tuple(part), k=5) for part in (items[:1], items[:3], items[2:])]
    questions += [RecommendQuestion(history=(), k=5), RecommendQuestion(user=users[0], k=5, exclude_seen=False)]

    async def use(served):
        gate, waiting = await held(served)
        asked = [asyncio.ensure_future(served.recommend(question)) for question in questions]
        await asyncio.sleep(0.01)
        assert len(served._reads._queue) == 4  # users, histories, the empty one, and another option
        gate.set()
        return await asyncio.gather(*asked, *waiting)

    answers = run(use)
    with Space.open(path) as space:
        for question, hits in zip(questions, answers, strict=False):
            history = None if question.history is None else list(question.history)
            alone = space.recommend(history=history, user=question.user, k=5, exclude_seen=question.exclude_seen)
            same(hits, alone)


def test_a_wrong_question_fails_alone_and_as_it_would_alone(run, shop):
    good = str(shop.catalog.ids[0])

    async def use(served):
        gate, waiting = await held(served)
        asked = [
            asyncio.ensure_future(served.recommend(RecommendQuestion(history=(item,)))) for item in (good, "?", good)
        ]
        asked.append(asyncio.ensure_future(served.search(SearchQuestion("tent", where="prize < 3"))))
        await asyncio.sleep(0.01)
        gate.set()
        return await asyncio.gather(*asked, *waiting, return_exceptions=True)

    first, wrong, last, unknown, *_ = run(use)
    assert first.items() == last.items()
    assert isinstance(wrong, RequestError)
    assert isinstance(unknown, FilterError)


def test_then_sees_the_hits_and_the_space_they_came_from(run):
    async def use(served):
        question = SearchQuestion("tent", k=2)
        names = await served.search(question, lambda space, hits: space.fields(hits.rows[0], ["title"]))
        told = await served.search(SearchQuestion("tent", k=2, explain=True), lambda space, hits: hits.explanation)
        return names, told

    names, told = run(use)
    assert len(names) == 2
    assert told is not None


def test_a_change_is_seen_by_the_next_read_of_every_process(run, path):
    async def use(served):
        other = Served.open("other", path, ServedOptions(watch_s=60))
        try:
            (first,) = await other.search(SearchQuestion("tent", k=1), lambda _, hits: hits.items())
            count, version = await served.change(lambda space: space.remove([first]))
            assert count == 1
            assert version == served.version
            for each in (other, served):
                assert first not in await each.search(SearchQuestion("tent"), lambda _, hits: hits.items())
            item = {"item_id": "new", "title": "a tent of tents, tent tent", "price": 1.0}
            await asyncio.gather(*(each.change(lambda space: space.add([item])) for each in (other, served, other)))
            for each in (other, served):
                assert await each.search(SearchQuestion("tent", k=1, by="lexical"), lambda _, h: h.items()) == ["new"]
        finally:
            await other.close()

    run(use, watch_s=60.0)


def test_a_change_by_a_process_that_does_not_serve_is_seen_soon(run, path):
    async def use(served):
        (first,) = await served.search(SearchQuestion("tent", k=1), lambda _, hits: hits.items())
        with Space.open(path) as space:
            space.remove([first])
        for _ in range(200):
            if first not in await served.search(SearchQuestion("tent"), lambda _, hits: hits.items()):
                return
            await asyncio.sleep(0.02)
        raise AssertionError("not seen")

    run(use)


def test_a_change_waits_for_another_writer_and_not_for_ever(run, path):
    async def use(served):
        with Space.open(path) as space:
            item = str(space.catalog.ids[0])
            with space.writing():
                with pytest.raises(Overloaded, match="being written"):
                    await served.change(lambda space: space.remove([item]))
                asked = asyncio.ensure_future(served.change(lambda space: space.remove([item])))
                await asyncio.sleep(0.05)
                assert not asked.done()
            assert (await asked)[0] == 1

    run(use, change_timeout_s=0.6)


def test_a_change_that_is_refused_writes_nothing(run):
    async def use(served):
        before = served.version
        with pytest.raises(RequestError):
            await served.change(lambda space: space.remove(["no such item"]))
        assert served.version == before
        assert (await served.change(lambda space: space.log([]))) == (0, before)

    run(use)


def test_a_new_generation_answers_and_no_read_fails(run, path):
    """Reads go on while a shop of other items is built in the place of the old one."""
    done = threading.Event()

    def build():
        Space.build(demo_shop(120, 100, rng=5), path=path, recipe=RECIPE, replace=True).close()
        done.set()

    async def use(served):
        old = served._now
        sizes = []
        builder = threading.Thread(target=build)
        builder.start()
        for turn in itertools.count():
            questions = (SearchQuestion(query, k=3) for query in QUERIES)
            found = await asyncio.gather(
                *(
                    served.search(question, lambda space, hits: (len(space.catalog), space.fields(hits.rows[0])))
                    for question in questions
                )
            )
            sizes += [size for size, _ in found]
            if (done.is_set() and sizes[-1] != sizes[0]) or turn > 5_000:
                break
        builder.join()
        assert {200, 120} >= set(sizes)
        assert served.generation == "000002"
        assert old._retired
        assert old._readers == 0
        return sizes

    sizes = run(use)
    assert (sizes[0], sizes[-1]) == (200, 120)


def test_a_generation_that_cannot_be_opened_is_told_and_the_old_one_goes_on(run, path, caplog):
    async def use(served):
        before = await served.search(SearchQuestion("tent"), lambda _, hits: hits.items())
        (path / "CURRENT").write_text('{"generation": "000009"}')
        with caplog.at_level(logging.ERROR, "itemspace.serve"):
            await asyncio.sleep(0.3)
            with pytest.raises(Exception, match="000009"):
                await served.reload()
        assert await served.search(SearchQuestion("tent"), lambda _, hits: hits.items()) == before
        told = [record.getMessage() for record in caplog.records]
        assert any("000009" in line for line in told)
        assert len(told) <= 2  # once by the watch, once by the reload: not at every look

    run(use)


def test_reload_without_anything_new_changes_nothing(run):
    async def use(served):
        assert await served.reload() is False
        assert served.generation == "000001"

    run(use)


def test_a_read_never_waits_for_a_following_that_has_ended(run):
    """Between the end of one catching up and the next look, another process may have changed something more."""

    async def use(served):
        await served.search(SearchQuestion("tent"))
        served._following = asyncio.get_running_loop().create_future()
        served._following.set_result(None)
        served._count.bump()
        started = asyncio.ensure_future(served._fresh())
        for _ in range(1_000):
            await asyncio.sleep(0.01)
            if started.done():
                return
        raise AssertionError("still waiting")

    run(use, watch_s=60.0)
