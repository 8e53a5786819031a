"""Pages of other origins: those in the list may ask from a browser, the others get nothing a browser would show them."""

import pytest

from itemspace.core.errors import RecipeError
from itemspace.serve.config import ServeConfig

SHOP = "/v1/spaces/shop"
PAGE = "https://www.example.org"


def beforehand(origin, method="POST"):
    return {"Origin": origin, "Access-Control-Request-Method": method}


@pytest.fixture
def client(serving, built):
    return serving({"spaces": {"shop": built}, "cors_origins": [PAGE, "http://localhost:3000"]})


def allowed(answer):
    return {name for name in answer.headers if name.startswith("access-control-")}


def test_an_origin_in_the_list_may_ask(client):
    told = client.options(f"{SHOP}/search", headers=beforehand(PAGE))
    assert told.status_code == 204
    assert told.headers["access-control-allow-origin"] == PAGE
    assert "authorization" in told.headers["access-control-allow-headers"].lower()
    assert "PATCH" in told.headers["access-control-allow-methods"]
    answer = client.post(f"{SHOP}/search", json={"query": "boots"}, headers={"Origin": "http://localhost:3000"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert answer.headers["vary"] == "Origin"
    refused = client.post(f"{SHOP}/search", json={"query": "boots", "k": 0}, headers={"Origin": PAGE})
    assert refused.status_code == 422
    assert refused.headers["access-control-allow-origin"] == PAGE
    assert not any("credentials" in name for name in allowed(told) | allowed(answer))


@pytest.mark.parametrize(
    "origin", ["https://evil.example.org", f"{PAGE}.evil.com", "http://www.example.org", f"{PAGE}:444", "null", ""]
)
def test_any_other_origin_may_not(client, origin):
    assert client.options(f"{SHOP}/search", headers=beforehand(origin)).status_code == 405
    answer = client.post(f"{SHOP}/search", json={"query": "boots"}, headers={"Origin": origin})
    assert allowed(answer) == set()
    assert answer.headers["vary"] == "Origin"


def test_without_a_list_nothing_is_said(serving, built):
    client = serving({"spaces": {"shop": built}})
    answer = client.post(f"{SHOP}/search", json={"query": "boots"}, headers={"Origin": PAGE})
    assert allowed(answer) == set()
    assert "vary" not in answer.headers
    assert client.options(f"{SHOP}/search", headers=beforehand(PAGE)).status_code == 405


def test_what_is_not_asked_beforehand_is_a_request_like_any_other(client):
    assert client.options(f"{SHOP}/search", headers={"Origin": PAGE}).status_code == 405


@pytest.mark.parametrize("origin", ["*", "https://example.org/", "example.org", "https://*.example.org", "file://x"])
def test_what_is_no_origin_is_refused(built, origin):
    with pytest.raises(RecipeError, match="is no origin"):
        ServeConfig.parse({"spaces": {"shop": built}, "cors_origins": [origin]})
