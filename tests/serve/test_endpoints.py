"""Every endpoint says what the library says."""

from pathlib import Path

import pytest

import itemspace
from itemspace.serve.routes import ENDPOINTS
from tests.serve.conftest import ROW

SHOP = "/v1/spaces/shop"
QUERIES = ["waterproof boots", "red tent", "jacket"]


def post(client, path, **body):
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def expected(library, hits, request=0, columns=None, offset=0):
    """One request's hits as the library tells them."""
    found = hits[request]
    fields = library.fields([hit.row for hit in found], columns or library.shown_columns())
    return [
        {"item": hit.item, "rank": offset + hit.rank + 1, "score": pytest.approx(hit.score), "fields": shown}
        for hit, shown in zip(found, fields, strict=True)
    ]


@pytest.fixture(scope="module")
def some(library):
    """Items that users bought together."""
    return library.search("boots", k=3).items()


class TestSearch:
    @pytest.mark.parametrize("by", [None, "hybrid", "lexical", "dense"])
    @pytest.mark.parametrize("where", [None, "price < 120 and in_stock", "false"])
    def test_is_the_library_s(self, client, library, by, where):
        hits = library.search(QUERIES[0], k=7, where=where, by=by)
        told = post(client, f"{SHOP}/search", query=QUERIES[0], k=7, where=where, by=by)
        assert told["hits"] == expected(library, hits)
        assert told["total"] == int(hits.total[0])
        assert (told["facets"], told["notes"], told["version"]) == ({}, [], library.version)
        assert told["took_ms"] > 0

    def test_pages_and_sorting(self, client, library):
        options = {"k": 5, "offset": 5, "sort": ["-price", "title"]}
        hits = library.search("boots", **options)
        told = post(client, f"{SHOP}/search", query="boots", **options)
        assert told["hits"] == expected(library, hits, offset=5)
        assert told["hits"][0]["rank"] == 6

    def test_groups_say_how_many_they_stand_for(self, client, library):
        hits = library.search("jacket", k=5, group_by="variant_of")
        told = post(client, f"{SHOP}/search", query="jacket", k=5, group_by="variant_of")["hits"]
        assert [hit["item"] for hit in told] == hits.items()
        assert [hit["variants"]["count"] for hit in told] == [hit.part.count for hit in hits[0]]

    def test_a_blank_query_lists_what_is_popular(self, client, library):
        assert post(client, f"{SHOP}/search", query="", k=4)["hits"] == expected(library, library.search("", k=4))

    def test_columns_are_those_asked_for(self, client, library):
        hits = library.search("boots", k=3)
        told = post(client, f"{SHOP}/search", query="boots", k=3, columns=["price", "item_id"])
        assert told["hits"] == expected(library, hits, columns=["price", "item_id"])

    def test_a_batch_is_its_queries_one_by_one(self, client):
        options = {"k": 5, "where": "price < 200", "facets": ["color"]}
        batch = post(client, f"{SHOP}/search/batch", queries=QUERIES, **options)["answers"]
        single = [post(client, f"{SHOP}/search", query=query, **options) for query in QUERIES]
        for one, other in zip(batch, single, strict=True):
            assert [hit["item"] for hit in one["hits"]] == [hit["item"] for hit in other["hits"]]
            assert (one["facets"], one["total"]) == (other["facets"], other["total"])

    def test_explained(self, client, library):
        told = post(client, f"{SHOP}/search", query=QUERIES[0], k=3, explain=True)
        index = library.retrievers["lexical"].index
        for hit in told["hits"]:
            row = int(library.catalog.rows([hit["item"]])[0])
            words = index.explain(QUERIES[0], row)
            assert hit["because"]["words"] == words
            assert any(words.values())
        assert told["explanation"]["parts"]


class TestFacets:
    COLUMNS = ("color", "category", "in_stock", "price")

    def test_counts_are_the_library_s(self, client, library):
        hits = library.search("boots", k=1, facets=list(self.COLUMNS))
        told = post(client, f"{SHOP}/facets", query="boots", facets=list(self.COLUMNS))
        counts = {column: {v["value"]: v["count"] for v in values} for column, values in told["facets"].items()}
        assert counts == hits.facets[0]
        assert told["total"] == int(hits.total[0])

    def test_the_filter_of_a_value_keeps_as_many_as_were_counted(self, client):
        told = post(client, f"{SHOP}/facets", query="", facets=list(self.COLUMNS))
        assert all(told["facets"][column] for column in self.COLUMNS)
        for values in told["facets"].values():
            for value in values:
                kept = post(client, f"{SHOP}/search", query="", k=1, where=value["where"])
                assert kept["total"] == value["count"], value


class TestRecommend:
    @pytest.mark.parametrize("where", [None, "price < 120"])
    @pytest.mark.parametrize("exclude_seen", [True, False])
    def test_a_history(self, client, library, some, where, exclude_seen):
        options = {"history": some, "k": 6, "where": where, "exclude_seen": exclude_seen}
        told = post(client, f"{SHOP}/recommend", **options)
        assert told["hits"] == expected(library, library.recommend(**options))
        assert (told["fallback"], told["notes"]) == (None, [])

    def test_a_user(self, client, library):
        user = library.users[0]
        told = post(client, f"{SHOP}/recommend", user=user, k=6)
        assert told["hits"] == expected(library, library.recommend(user=user, k=6))
        assert told["fallback"] is None

    def test_an_unknown_user_gets_what_is_popular_and_is_told(self, client, library):
        told = post(client, f"{SHOP}/recommend", user="nobody", k=6)
        assert told["hits"] == expected(library, library.recommend(user="nobody", k=6))
        assert told["fallback"] == "popularity"
        assert "nobody" in told["notes"][0]
        assert "popular" in told["notes"][0]

    def test_unknown_items_are_left_out_and_named(self, client, library, some):
        told = post(client, f"{SHOP}/recommend", history=[*some, "no such item"], k=6)
        assert told["hits"] == expected(library, library.recommend(history=some, k=6))
        assert told["fallback"] is None
        assert '"no such item"' in told["notes"][0]

    @pytest.mark.parametrize("history", [[], ["no such item"], ["x", "y"]])
    def test_a_history_of_nothing_known_gets_what_is_popular(self, client, library, history):
        told = post(client, f"{SHOP}/recommend", history=history, k=6)
        assert told["hits"] == expected(library, library.recommend(history=[], k=6))
        assert told["fallback"] == "popularity"
        assert len(told["notes"]) == 1 + bool(history)

    def test_reasons_are_history_items(self, client, some):
        told = post(client, f"{SHOP}/recommend", history=some, k=6, explain=True)
        reasons = [reason["item"] for hit in told["hits"] for reason in hit["because"]["history"]]
        assert reasons
        assert set(reasons) <= set(some)

    def test_batches(self, client, library, some):
        users = [library.users[0], "nobody", library.users[1]]
        told = post(client, f"{SHOP}/recommend/batch", users=users, k=4)["answers"]
        assert [answer["fallback"] for answer in told] == [None, "popularity", None]
        assert [answer["notes"] == [] for answer in told] == [True, False, True]
        for answer, user in zip(told, users, strict=True):
            assert [hit["item"] for hit in answer["hits"]] == library.recommend(user=user, k=4).items()
        histories = [some, ["no such item"], some[:1]]
        told = post(client, f"{SHOP}/recommend/batch", histories=histories, k=4)["answers"]
        assert [answer["fallback"] for answer in told] == [None, "popularity", None]
        for answer, history in zip(told, [some, [], some[:1]], strict=True):
            assert [hit["item"] for hit in answer["hits"]] == library.recommend(history=history, k=4).items()

    def test_served_answers_rank_held_out_items_as_offline_evaluation_does(self, client, library):
        """The same requests, the same hit rate: what was measured is what is served."""
        users = library.users.values[:60].to_pylist()
        offline = library.recommend(user=users, k=10)
        served = post(client, f"{SHOP}/recommend/batch", users=users, k=10)["answers"]
        assert [[hit["item"] for hit in answer["hits"]] for answer in served] == [offline.items(i) for i in range(60)]
        scores = [hit["score"] for answer in served for hit in answer["hits"]]
        assert scores == pytest.approx([hit.score for found in offline for hit in found])


class TestSimilarAndExplain:
    @pytest.mark.parametrize("by", ["text", "behavior"])
    def test_similar(self, client, library, some, by):
        told = post(client, f"{SHOP}/similar", item=some[0], by=by, k=5, where="price < 300")
        assert told["hits"] == expected(library, library.similar(some[0], by=by, k=5, where="price < 300"))

    def test_why_an_item_answers_a_query(self, client, library, some):
        told = post(client, f"{SHOP}/explain", item=some[0], query="boots")
        said = library.explain(some[0], query="boots")
        assert told["words"] == said["words"]
        assert told["places"]["lexical"] == said["lexical"]
        assert set(told["places"]) == {"lexical", "dense", "hybrid"}

    def test_why_an_item_does_not_answer(self, client, library):
        hits = library.search("tent", k=300, by="lexical").items()
        other = next(item for item in library.catalog.ids.values.to_pylist() if item not in hits)
        assert post(client, f"{SHOP}/explain", item=other, query="tent")["places"]["lexical"] is None

    def test_why_an_item_is_recommended(self, client, library, some):
        told = post(client, f"{SHOP}/explain", item=some[2], history=[*some[:2], "no such item"])
        said = library.explain(some[2], history=some[:2])
        place = told["places"]["recommendation"]
        assert (place or {}).get("rank") == said["rank"]
        assert [reason["item"] for reason in told["history"]] == [part["history item"] for part in said["because"]]
        assert "no such item" in told["notes"][0]


class TestItems:
    def test_one(self, client, library, some):
        told = client.get(f"{SHOP}/items/{some[0]}").json()
        assert told["item"] == some[0]
        assert told["fields"]["title"] == library.catalog.item(some[0])["title"]
        assert set(told["fields"]) == {name for name, kind in library.catalog.schema if kind != "vector"}

    def test_several(self, client, library, some):
        told = post(client, f"{SHOP}/items/get", items=[some[1], "no such item", some[0]], columns=["title"])
        titles = [library.catalog.item(item)["title"] for item in (some[1], some[0])]
        assert [(item["item"], item["fields"]["title"]) for item in told["items"]] == list(
            zip([some[1], some[0]], titles, strict=True)
        )
        assert told["unknown"] == ["no such item"]


class TestChanging:
    @pytest.fixture
    def live(self, serving, space_path):
        return serving({"spaces": {"shop": space_path}})

    def test_added_items_are_found_at_once(self, live):
        item = {"item_id": "N/1 é", "title": "Inflatable lighthouse", "price": 15.0, "in_stock": True}
        changed = post(live, f"{SHOP}/items", items=[item])
        assert changed["changed"] == 1
        told = post(live, f"{SHOP}/search", query="inflatable lighthouse", by="lexical", k=1)
        assert told["hits"][0]["item"] == "N/1 é"
        assert told["version"] >= changed["version"]
        found = live.get(f"{SHOP}/items/N%2F1%20%C3%A9")  # an encoded slash stays in the ID
        assert found.json()["fields"]["title"] == "Inflatable lighthouse"

    def test_updates_and_removals_hold_for_the_next_answer(self, live):
        first = post(live, f"{SHOP}/search", query="boots", k=1)["hits"][0]["item"]
        told = live.request("PATCH", f"{SHOP}/items", json={"items": [{"item_id": first, "price": 1.25}]}).json()
        assert told["changed"] == 1
        assert live.get(f"{SHOP}/items/{first}").json()["fields"]["price"] == 1.25
        assert post(live, f"{SHOP}/items/remove", items=[first])["changed"] == 1
        assert first not in [hit["item"] for hit in post(live, f"{SHOP}/search", query="boots", k=100)["hits"]]
        assert live.get(f"{SHOP}/items/{first}").status_code == 404
        assert live.post(f"{SHOP}/similar", json={"item": first}).status_code == 404
        assert post(live, f"{SHOP}/items/get", items=[first])["unknown"] == [first]

    def test_logged_events_make_a_user_known(self, live):
        item = post(live, f"{SHOP}/search", query="tent", k=1)["hits"][0]["item"]
        assert post(live, f"{SHOP}/recommend", user="someone new")["fallback"] == "popularity"
        events = [
            {"user": "someone new", "item": item},
            {"user": "someone new", "item": item, "event": "view", "time": 5},
        ]
        assert post(live, f"{SHOP}/events", events=events)["changed"] == 2
        told = post(live, f"{SHOP}/recommend", user="someone new", explain=True)
        assert told["fallback"] is None
        assert item not in [hit["item"] for hit in told["hits"]]

    def test_a_refused_change_writes_nothing(self, live):
        before = live.get(SHOP).json()
        bad = [{"item_id": "N1", "title": "fine"}, {"item_id": "N2", "price": "cheap"}]
        answer = live.post(f"{SHOP}/items", json={"items": bad})
        assert answer.status_code == 422
        error = answer.json()["error"]
        assert (error["row"], error["column"]) == (2, "price")
        assert live.post(f"{SHOP}/items/remove", json={"items": ["nope"]}).status_code == 404
        assert live.get(SHOP).json() == before

    def test_numeric_ids_are_their_digits(self, live):
        post(live, f"{SHOP}/items", items=[{"item_id": 4711, "title": "A thing with a number"}])
        assert post(live, f"{SHOP}/items/get", items=[4711])["items"][0]["item"] == "4711"


class TestAbout:
    def test_spaces(self, client, library):
        told = client.get("/v1/spaces").json()["spaces"]
        assert [space["name"] for space in told] == ["shop", "bare"]
        shop, bare = told
        assert (shop["items"], shop["users"], shop["version"]) == (300, len(library.users), library.version)
        assert shop["similar_by"] == ["text", "behavior"]
        assert (bare["similar_by"], bare["recommends"]) == (["text"], False)
        assert {"color", "category", "in_stock", "price"} <= set(shop["facets"])
        assert "item_id" not in shop["facets"]
        assert client.get(SHOP).json() == shop
        assert all(client.post(f"{SHOP}/facets", json={"facets": [c]}).status_code == 200 for c in shop["facets"])

    def test_a_report_is_there_once_something_was_measured(self, serving, space_path):
        from itemspace.core.report import Measure, Report
        from itemspace.space.reports import keep_reports

        client = serving({"spaces": {"shop": space_path}})
        answer = client.get(f"{SHOP}/report")
        assert answer.status_code == 404
        assert "itemspace evaluate" in answer.json()["error"]["message"]
        keep_reports(space_path, {"filtered search": Report("Filtered", (Measure("ndcg@10", "hybrid", 0.5),))})
        told = client.get(f"{SHOP}/report").json()["reports"]
        assert told["filtered search"]["measures"][0]["value"] == 0.5

    @pytest.mark.parametrize("prefix", ["wat", "boots le", "Tent", "zzzz", ""])
    def test_autocomplete(self, client, library, prefix):
        said = [{"text": one.text, "kind": one.kind, "item": one.item} for one in library.suggest(prefix, k=5)]
        assert post(client, f"{SHOP}/autocomplete", prefix=prefix, k=5)["suggestions"] == said
        assert client.get(f"{SHOP}/autocomplete", params={"prefix": prefix, "k": 5}).json()["suggestions"] == said

    def test_the_map(self, client, library):
        told = client.get(f"{SHOP}/map", params={"color": "category"}).json()
        points = told["points"]
        made = library.map(color="category")
        assert len({len(part) for part in points.values()}) == 1
        assert points["item"] == made.ids
        assert points["x"] == pytest.approx(made.x.tolist())
        named = [told["colors"][color] for color in points["color"]]
        column = library.catalog.column("category").take(made.rows).to_pylist()
        assert all(name in (value, "other") for name, value in zip(named, column, strict=True))
        assert set(client.get(f"{SHOP}/map").json()["points"]["color"]) == {-1}
        assert client.get(f"{SHOP}/map?color=colour").status_code == 422

    def test_reload_without_a_newer_generation(self, client):
        told = client.post(f"{SHOP}/reload").json()
        assert told["reloaded"] is False

    def test_reload_takes_a_newer_generation(self, serving, space_path):
        from itemspace.data.worlds.shop import demo_shop
        from itemspace.space import Space
        from tests.serve.conftest import RECIPE

        client = serving({"spaces": {"shop": space_path}})
        before = client.get(SHOP).json()
        Space.build(demo_shop(120, 60, rng=9), path=space_path, recipe=RECIPE, replace=True).close()
        client.post(f"{SHOP}/reload")
        after = client.get(SHOP).json()
        assert (before["items"], after["items"]) == (300, 120)
        assert after["generation"] > before["generation"]

    def test_the_gallery(self, client, serving, built):
        assert client.get("/v1/systems").json()["systems"][0]["slug"] == "some-system"
        assert serving({"spaces": {"shop": built}}).get("/v1/systems").status_code == 404

    def test_the_file_of_a_system_is_read_by_its_slug_alone(self, client):
        told = client.get(f"/v1/systems/{ROW['slug']}/source").json()
        assert told["path"] == ROW["source"] == "systems/__init__.py"
        assert told["text"] == (Path(itemspace.__file__).parent / ROW["source"]).read_text()
        for slug in ("none_such", "..%2F..%2Fsecret", "systems%2F__init__.py"):
            assert client.get(f"/v1/systems/{slug}/source").status_code == 404

    def test_health_ready_and_the_document(self, client):
        assert client.get("/health").json()["status"] == "ok"
        assert client.get("/ready").json() == {"ready": True, "spaces": {"shop": True, "bare": True}}
        page = client.get("/docs")
        assert page.headers["content-type"].startswith("text/html")
        assert all(endpoint.path in page.text for endpoint in ENDPOINTS)

    def test_not_ready_before_it_has_opened(self, built):
        from starlette.testclient import TestClient

        from itemspace.serve.app import Application
        from itemspace.serve.config import ServeConfig
        from tests.serve.conftest import HOME

        client = TestClient(Application(ServeConfig.parse({"spaces": {"shop": built}, "page": False})), base_url=HOME)
        assert client.get("/health").status_code == 200
        assert client.get("/ready").status_code == 503
        answer = client.post(f"{SHOP}/search", json={"query": "boots"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize(
    ("verb", "body"),
    [("search", {"query": "boots"}), ("recommend", {"user": "nobody"}), ("items/get", {"items": None})],
)
def test_an_empty_list_of_columns_shows_none(client, some, verb, body):
    body = {"items": some} if "items" in body else body
    told = post(client, f"{SHOP}/{verb}", columns=[], **body)
    shown = [hit["fields"] for hit in told["hits"]] if "hits" in told else [item["fields"] for item in told["items"]]
    assert shown
    assert not any(shown)
