"""What is refused, with which status, and that the text says what to do: one table."""

import json

import pytest

from tests.serve.conftest import bearer

SHOP = "/v1/spaces/shop"


def body(**values):
    return json.dumps(values).encode()


DEEP = b'{"query": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"
# name: (method, path, body, headers, status, type, part of the message)
CASES = {
    "malformed JSON": ("POST", f"{SHOP}/search", b'{"query": ', {}, 400, "malformed_json", "not JSON"),
    "no body": ("POST", f"{SHOP}/search", b"", {}, 400, "malformed_json", "not JSON"),
    "not UTF-8": ("POST", f"{SHOP}/search", b'{"query": "\xff"}', {}, 400, "malformed_json", "not JSON"),
    "half a character": ("POST", f"{SHOP}/search", b'{"query": "\\ud800"}', {}, 400, "malformed_json", "not JSON"),
    "deep JSON": ("POST", f"{SHOP}/search", DEEP, {}, 400, "malformed_json", "not JSON"),
    "a list": ("POST", f"{SHOP}/search", b"[1]", {}, 422, "invalid", "object"),
    "no query": ("POST", f"{SHOP}/search", body(k=3), {}, 422, "invalid", "`query` is missing"),
    "a number for a text": ("POST", f"{SHOP}/search", body(query=3), {}, 422, "invalid", "`query` should be"),
    "an unknown key": ("POST", f"{SHOP}/search", body(query="x", wher="a"), {}, 422, "invalid", "Did you mean `where`"),
    "k of 0": ("POST", f"{SHOP}/search", body(query="x", k=0), {}, 422, "invalid", "at least 1"),
    "k as text": ("POST", f"{SHOP}/search", body(query="x", k="3"), {}, 422, "invalid", "`k` should be"),
    "k as true": ("POST", f"{SHOP}/search", body(query="x", k=True), {}, 422, "invalid", "`k` should be"),
    "k as a fraction": ("POST", f"{SHOP}/search", body(query="x", k=1.5), {}, 422, "invalid", "`k` should be"),
    "k as NaN": ("POST", f"{SHOP}/search", b'{"query": "x", "k": NaN}', {}, 422, "invalid", "`k` should be"),
    "k endless": (
        "POST",
        f"{SHOP}/search",
        b'{"query": "x", "k": 1%s}' % (b"0" * 5000),
        {},
        400,
        "malformed_json",
        "range",
    ),
    "k too large": ("POST", f"{SHOP}/search", body(query="x", k=1001), {}, 422, "too_much", "at most 1,000"),
    "offset too large": ("POST", f"{SHOP}/search", body(query="x", offset=10**6), {}, 422, "too_much", "offset"),
    "a query too long": ("POST", f"{SHOP}/search", body(query="x" * 2001), {}, 422, "too_much", "characters"),
    "a batch too large": ("POST", f"{SHOP}/search/batch", body(queries=["x"] * 257), {}, 422, "too_much", "batch"),
    "too many hits in all": (
        "POST",
        f"{SHOP}/search/batch",
        body(queries=["x"] * 200, k=900),
        {},
        422,
        "too_much",
        "whole",
    ),
    "an empty batch": ("POST", f"{SHOP}/search/batch", body(queries=[]), {}, 422, "invalid", "not be empty"),
    "a half blank batch": ("POST", f"{SHOP}/search/batch", body(queries=["x", ""]), {}, 422, "bad_request", "blank"),
    "a malformed filter": (
        "POST",
        f"{SHOP}/search",
        body(query="x", where="price <"),
        {},
        422,
        "bad_filter",
        "price <",
    ),
    "an unknown column in a filter": (
        "POST",
        f"{SHOP}/search",
        body(query="x", where="prise < 3"),
        {},
        422,
        "bad_filter",
        "Did you mean `price`",
    ),
    "SQL in a filter": (
        "POST",
        f"{SHOP}/search",
        body(query="x", where="1=1; drop table items"),
        {},
        422,
        "bad_filter",
        "",
    ),
    "a filter too long": ("POST", f"{SHOP}/search", body(query="x", where="x" * 10_001), {}, 422, "invalid", "where"),
    "a filter too deep": ("POST", f"{SHOP}/search", body(query="x", where="(" * 500), {}, 422, "bad_filter", "deep"),
    "an unknown retriever": ("POST", f"{SHOP}/search", body(query="x", by="hybrd"), {}, 422, "bad_request", "hybrid"),
    "an unknown sort column": (
        "POST",
        f"{SHOP}/search",
        body(query="x", sort=["prise"]),
        {},
        422,
        "bad_columns",
        "price",
    ),
    "an unknown facet": ("POST", f"{SHOP}/facets", body(facets=["colour"]), {}, 422, "bad_columns", "color"),
    "a facet of text": ("POST", f"{SHOP}/facets", body(facets=["title"]), {}, 422, "bad_request", "facets count"),
    "an unknown column": (
        "POST",
        f"{SHOP}/search",
        body(query="x", columns=["nme"]),
        {},
        422,
        "bad_columns",
        "no column",
    ),
    "nobody to recommend to": ("POST", f"{SHOP}/recommend", body(), {}, 422, "invalid", "recommend to whom"),
    "a history of numbers with a fraction in it": (
        "POST",
        f"{SHOP}/recommend",
        body(history=[None]),
        {},
        422,
        "invalid",
        "history.0",
    ),
    "a history too long": ("POST", f"{SHOP}/recommend", body(history=["x"] * 1001), {}, 422, "too_much", "history"),
    "users and histories": (
        "POST",
        f"{SHOP}/recommend/batch",
        body(users=["a"], histories=[["b"]]),
        {},
        422,
        "invalid",
        "`histories` or `users`",
    ),
    "no events to recommend from": (
        "POST",
        "/v1/spaces/bare/recommend",
        body(history=[]),
        {},
        409,
        "no_events",
        "without events",
    ),
    "no events, a batch": (
        "POST",
        "/v1/spaces/bare/recommend/batch",
        body(users=["u"]),
        {},
        409,
        "no_events",
        "events",
    ),
    "similar to an unknown item": ("POST", f"{SHOP}/similar", body(item="nope"), {}, 404, "unknown_item", "nope"),
    "similar by a guess": ("POST", f"{SHOP}/similar", body(item="{item}", by="txt"), {}, 422, "bad_request", "text"),
    "an unknown item to explain": (
        "POST",
        f"{SHOP}/explain",
        body(item="nope", query="x"),
        {},
        404,
        "unknown_item",
        "nope",
    ),
    "nothing to explain": ("POST", f"{SHOP}/explain", body(item="{item}"), {}, 422, "invalid", "explain an answer"),
    "two answers to explain": (
        "POST",
        f"{SHOP}/explain",
        body(item="{item}", query="x", user="u"),
        {},
        422,
        "invalid",
        "one answer",
    ),
    "an unknown item": ("GET", f"{SHOP}/items/nope", None, {}, 404, "unknown_item", "nope"),
    "an unknown Space": (
        "POST",
        "/v1/spaces/shp/search",
        body(query="x"),
        {},
        404,
        "unknown_space",
        "Did you mean `shop`",
    ),
    "an unknown path": ("GET", "/v1/space", None, {}, 404, "no_path", "/docs"),
    "a slash too many": ("POST", f"{SHOP}/search/", body(query="x"), {}, 404, "no_path", ""),
    "another method": ("DELETE", f"{SHOP}/items", None, {}, 405, "method", "PATCH, POST"),
    "GET of a search": ("GET", f"{SHOP}/search", None, {}, 405, "method", "POST"),
    "a query nobody knows": ("GET", f"{SHOP}/items/nope?colum=x", None, {}, 422, "invalid", "unknown"),
    "a query given twice": ("GET", f"{SHOP}/items/nope?a=1&a=2", None, {}, 400, "query", "twice"),
    "a query that is not UTF-8": ("GET", f"{SHOP}/items/nope?a=%ff", None, {}, 400, "query", "UTF-8"),
    "dots in a path": ("GET", "/v1/spaces/../../etc/passwd", None, {}, 404, None, ""),
    "encoded dots": ("GET", "/v1/spaces/%2e%2e%2f%2e%2e%2fetc%2fpasswd", None, {}, 404, "unknown_space", ""),
    "dots for an item": ("GET", f"{SHOP}/items/..%2f..%2fCURRENT", None, {}, 404, "unknown_item", "CURRENT"),
    "dots for a file": ("GET", "/static/..%2f..%2fapp.py", None, {}, 404, "no_path", ""),
    "backslashes": ("GET", "/static/..%5c..%5capp.py", None, {}, 404, "no_path", ""),
    "NUL in a path": ("GET", f"{SHOP}/items/a%00b", None, {}, 400, "path", "control"),
    "a path that is not UTF-8": ("GET", f"{SHOP}/items/%ff", None, {}, 400, "path", "UTF-8"),
    "NUL in an ID": ("POST", f"{SHOP}/similar", body(item="a\0b"), {}, 404, "unknown_item", "x00"),
    "no content type": ("POST", f"{SHOP}/search", body(query="x"), {"content-type": ""}, 415, "media_type", "json"),
    "a form": (
        "POST",
        f"{SHOP}/search",
        b"query=x",
        {"content-type": "application/x-www-form-urlencoded"},
        415,
        "media_type",
        "x-www-form",
    ),
    "a browser's plain text": (
        "POST",
        f"{SHOP}/search",
        body(query="x"),
        {"content-type": "text/plain"},
        415,
        "media_type",
        "",
    ),
    "compressed": ("POST", f"{SHOP}/search", b"x", {"content-encoding": "gzip"}, 415, "media_type", "uncompressed"),
    "another charset": (
        "POST",
        f"{SHOP}/search",
        body(query="x"),
        {"content-type": "application/json; charset=utf-16"},
        415,
        "media_type",
        "UTF-8",
    ),
    "oversized": ("POST", f"{SHOP}/search", b" " * (1 << 20) + body(query="x"), {}, 413, "too_large", "1,048,576"),
    "a name of another machine": (
        "GET",
        SHOP,
        None,
        {"host": "evil.example.org"},
        421,
        "host",
        "names of its own machine",
    ),
    "an item of a deep list": (
        "POST",
        f"{SHOP}/items",
        b'{"items": [{"item_id": "x", "title": [[["y"]]]}]}',
        {},
        422,
        "invalid",
        "items.0.title",
    ),
    "an infinite price": (
        "POST",
        f"{SHOP}/items",
        b'{"items": [{"item_id": "x", "price": Infinity}]}',
        {},
        422,
        "invalid",
        "items.0.price",
    ),
    "an item without an ID": ("POST", f"{SHOP}/items", body(items=[{"title": "x"}]), {}, 422, "bad_columns", "item_id"),
    "an item with an unknown column": (
        "POST",
        f"{SHOP}/items",
        body(items=[{"item_id": "x", "prise": 1}]),
        {},
        422,
        "bad_columns",
        "Did you mean `price`",
    ),
    "a price that is a text": (
        "POST",
        f"{SHOP}/items",
        body(items=[{"item_id": "x", "price": "cheap"}]),
        {},
        422,
        "bad_data",
        "cheap",
    ),
    "an update of an unknown item": (
        "PATCH",
        f"{SHOP}/items",
        body(items=[{"item_id": "nope", "price": 1.0}]),
        {},
        422,
        "bad_data",
        "nope",
    ),
    "an event with an unknown item": (
        "POST",
        f"{SHOP}/events",
        body(events=[{"user": "u", "item": "nope"}]),
        {},
        422,
        "bad_data",
        "nope",
    ),
    "an event without a user": (
        "POST",
        f"{SHOP}/events",
        body(events=[{"item": "nope"}]),
        {},
        422,
        "invalid",
        "events.0.user",
    ),
    "removing an unknown item": (
        "POST",
        f"{SHOP}/items/remove",
        body(items=["nope"]),
        {},
        404,
        "unknown_item",
        "Nothing was removed",
    ),
    "too many rows": (
        "POST",
        f"{SHOP}/items",
        body(items=[{"item_id": str(i)} for i in range(10_001)]),
        {},
        422,
        "too_much",
        "10,000",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refused(client, library, name):
    method, path, content, headers, status, kind, told = CASES[name]
    if content is not None:
        content = content.replace(b"{item}", library.catalog.ids[0].encode())
    answer = client.request(method, path, content=content, headers={"content-type": "application/json"} | headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (status, kind or error["type"]), error
    assert told in error["message"], error
    assert error["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text


def test_what_was_refused_changed_nothing(client, library):
    assert client.get(SHOP).json()["version"] == library.version


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:1234", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1", 200),
        ("[::1]:8000", 200),
        ("[::1]", 200),
        ("localhost.example.org", 421),
        ("127.0.0.1.example.org:8000", 421),
        ("10.0.0.1:8000", 421),
        ("shop.test", 421),
    ],
)
def test_a_server_without_keys_answers_to_its_own_names(client, host, status):
    assert client.get("/v1/spaces", headers={"Host": host}).status_code == status


def test_and_to_those_it_was_given(serving, built):
    client = serving({"spaces": {"shop": built}, "allowed_hosts": ["shop.test"]})
    assert client.get("/v1/spaces", headers={"Host": "shop.test:8000"}).status_code == 200


def test_a_bad_filter_says_where(client):
    error = client.post(f"{SHOP}/search", json={"query": "x", "where": "price < 3 and"}).json()["error"]
    assert error["position"] == 13


def test_a_body_is_read_no_further_than_it_may_be(serving, built):
    """Sent in pieces and without a length, it is refused when it is too long, not when it ends."""
    client = serving({"spaces": {"shop": built}, "limits": {"max_body_bytes": 1_000}})
    sent = []

    def pieces():
        for _ in range(1_000):
            sent.append(1)
            yield b" " * 100

    answer = client.post(f"{SHOP}/search", content=pieces(), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")


class TestKeys:
    @pytest.fixture(scope="class")
    def guarded(self, built, keyring):
        from starlette.testclient import TestClient

        from itemspace.serve.app import Application
        from itemspace.serve.config import ServeConfig

        config = {"spaces": {"shop": built}, "host": "0.0.0.0", "key_file": keyring[0], "page": False}
        with TestClient(Application(ServeConfig.parse(config)), base_url="http://shop.example.org") as client:
            yield client, keyring[1]

    ASK = ("POST", f"{SHOP}/search", {"query": "boots"})
    CHANGE = ("POST", f"{SHOP}/items/remove", {"items": ["nope"]})  # let in, it would be 404

    @pytest.mark.parametrize(
        ("what", "who", "status"),
        [
            (ASK, None, 401),
            (ASK, "unknown", 401),
            (ASK, "reader", 200),
            (ASK, "both", 200),
            (ASK, "writer", 403),
            (CHANGE, None, 401),
            (CHANGE, "reader", 403),
            (CHANGE, "writer", 404),
            (CHANGE, "both", 404),
            (("POST", f"{SHOP}/reload", None), "reader", 403),
            (("GET", "/metrics", None), None, 401),
            (("GET", "/metrics", None), "reader", 200),
            (("GET", "/v1/spaces", None), None, 401),
            (("GET", "/health", None), None, 200),
            (("GET", "/ready", None), None, 200),
            (("GET", "/openapi.json", None), None, 200),
        ],
    )
    def test_scopes(self, guarded, what, who, status):
        client, keys = guarded
        method, path, content = what
        headers = {} if who is None else bearer(keys.get(who, "its_unknown"))
        answer = client.request(method, path, json=content, headers=headers)
        assert answer.status_code == status, answer.text
        if status == 401:
            assert answer.headers["www-authenticate"] == "Bearer"

    def test_the_other_header(self, guarded):
        client, keys = guarded
        answer = client.post(f"{SHOP}/search", json={"query": "x"}, headers={"X-API-Key": keys["reader"]})
        assert answer.status_code == 200

    def test_a_key_whose_time_is_over(self, serving, built, tmp_path):
        from itemspace.serve.keys import new_key

        file = tmp_path / "keys.txt"
        (old, one), (new, other) = new_key("old", until="2020-01-01"), new_key("new", until="2120-01-01")
        file.write_text(f"{one}\n{other}\n")
        client = serving({"spaces": {"shop": built}, "key_file": file})
        refused = client.get(SHOP, headers=bearer(old))
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert "`old` has expired" in refused.json()["error"]["message"]
        assert client.get(SHOP, headers=bearer(new)).status_code == 200

    def test_no_space_is_told_of_without_a_key(self, guarded):
        client, _ = guarded
        assert client.get("/v1/spaces/other").status_code == client.get(SHOP).status_code == 401


class TestLimits:
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    def test_rate(self, serving, built, keyring):
        clock = self.Clock()
        path, keys = keyring
        config = {"spaces": {"shop": built}, "key_file": path, "limits": {"rate_per_s": 2.0, "burst": 2}}
        client = serving(config, clock=clock)
        ask = lambda who: client.get(SHOP, headers=bearer(keys[who]))  # noqa: E731
        assert [ask("reader").status_code for _ in range(3)] == [200, 200, 429]
        refused = ask("reader")
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["type"] == "too_often"
        assert ask("both").status_code == 200  # another key
        assert client.get("/health").status_code == 200
        clock.now = 0.5
        assert [ask("reader").status_code for _ in range(2)] == [200, 429]

    def test_guessing_keys_is_limited_by_address(self, serving, built, keyring):
        config = {"spaces": {"shop": built}, "key_file": keyring[0], "limits": {"rate_per_s": 1.0, "burst": 3}}
        client = serving(config, clock=self.Clock())
        answers = [client.get(SHOP, headers=bearer(f"guess {i}")).status_code for i in range(5)]
        assert answers == [401, 401, 401, 429, 429]

    def test_addresses_behind_a_proxy(self, serving, built):
        """The visitor's address counts where the proxy is believed, and nobody else can claim one."""

        def asked(trusted, *visitors):
            limits = {"rate_per_s": 1.0, "burst": 1}
            config = {"spaces": {"shop": built}, "trusted_proxies": trusted, "limits": limits}
            client = serving(config, clock=self.Clock())
            return [client.get(SHOP, headers={"X-Forwarded-For": visitor}).status_code for visitor in visitors]

        assert asked(["testclient"], "10.0.0.1", "10.0.0.2", "forged, 10.0.0.1") == [200, 200, 429]
        assert asked([], "10.0.0.1", "10.0.0.2") == [200, 429]

    def test_what_takes_too_long(self, serving, built, monkeypatch):
        import time

        from itemspace.space import Space

        client = serving({"spaces": {"shop": built}, "limits": {"timeout_s": 0.05}})
        monkeypatch.setattr(Space, "similar", lambda self, *a, **k: time.sleep(0.3))
        item = client.get(SHOP).json()
        assert item["items"] == 300
        answer = client.post(f"{SHOP}/explain", json={"item": "nope", "query": "x"})
        assert answer.status_code == 404
        with Space.open(built) as space:
            known = space.catalog.ids[0]
        answer = client.post(f"{SHOP}/similar", json={"item": known})
        assert (answer.status_code, answer.json()["error"]["type"]) == (504, "timed_out")

    def test_more_than_fits_is_refused_and_the_rest_answered(self, built, monkeypatch):
        """Nothing hangs and nothing collapses: every request is answered, with 200 or with 503 and when to come back."""
        import asyncio
        import time

        import httpx

        from itemspace.serve.app import Application
        from itemspace.serve.config import ServeConfig
        from itemspace.space import Space
        from tests.serve.conftest import HOME

        limits = {"max_waiting": 3}
        app = Application(ServeConfig.parse({"spaces": {"shop": built}, "page": False, "threads": 1, "limits": limits}))
        real = Space.similar
        monkeypatch.setattr(Space, "similar", lambda self, *a, **k: (time.sleep(0.05), real(self, *a, **k))[1])
        with Space.open(built) as space:
            known = space.catalog.ids[0]

        async def crowd():
            transport = httpx.ASGITransport(app)
            async with app.running(), httpx.AsyncClient(transport=transport, base_url=HOME) as client:
                asked = [client.post(f"{SHOP}/similar", json={"item": known}) for _ in range(20)]
                answers = await asyncio.gather(*asked)
                health = await client.get("/health")
                after = await client.post(f"{SHOP}/similar", json={"item": known})
                return answers, health, after

        answers, health, after = asyncio.run(crowd())
        codes = [answer.status_code for answer in answers]
        assert set(codes) == {200, 503}
        assert codes.count(200) == 4  # one at work, three waiting
        assert all(answer.headers["retry-after"] for answer in answers if answer.status_code == 503)
        assert (health.status_code, after.status_code) == (200, 200)


def test_an_unforeseen_error_tells_the_log_and_nobody_else(serving, built, monkeypatch, caplog):
    from itemspace.space import Space

    client = serving({"spaces": {"shop": built}})

    def broken(self, *args, **options):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(Space, "search", broken)
    with caplog.at_level("ERROR", logger="itemspace.serve"):
        answer = client.post(f"{SHOP}/search", json={"query": "x"}, headers={"X-Request-ID": "abc-1"})
    assert answer.status_code == 500
    assert answer.json()["error"] == {
        "type": "internal",
        "message": answer.json()["error"]["message"],
        "request_id": "abc-1",
    }
    assert "secret" not in answer.text
    record = next(record for record in caplog.records if record.exc_info)
    assert record.told["request_id"] == "abc-1"
    assert "secret detail" in str(record.exc_info[1])
