"""One line per request, which finds it again and gives nothing away; counters that Prometheus reads."""

import json
import logging

import pytest
from prometheus_client.parser import text_string_to_metric_families

from itemspace.serve.logs import JsonLines, Words, request_id
from tests.serve.conftest import bearer

SHOP = "/v1/spaces/shop"


@pytest.fixture
def lines(caplog):
    """What was told of the requests so far."""
    caplog.set_level(logging.INFO, logger="itemspace.serve.requests")
    return lambda: [record.told for record in caplog.records if record.name == "itemspace.serve.requests"]


def test_a_line_says_who_asked_what_and_how_it_went(serving, built, keyring, lines):
    path, keys = keyring
    client = serving({"spaces": {"shop": built}, "key_file": path})
    ask = {"query": "a secret wish", "k": 3, "where": "in_stock"}
    answer = client.post(f"{SHOP}/search", json=ask, headers={**bearer(keys["reader"]), "X-Request-ID": "abc-123"})
    client.get("/v1/spaces/nope/items/also-secret", headers=bearer("its_guess"))
    found, refused = lines()
    assert answer.headers["x-request-id"] == "abc-123"
    assert found.pop("ms") > 0
    assert found == {
        "request_id": "abc-123",
        "method": "POST",
        "route": "/v1/spaces/{space}/search",
        "status": 200,
        "space": "shop",
        "k": 3,
        "key": "reader",
    }
    assert (refused["status"], refused["refused"], refused["route"]) == (
        401,
        "unauthorized",
        "/v1/spaces/{space}/items/{id}",
    )
    assert "key" not in refused
    told = json.dumps([found, refused])
    assert all(secret not in told for secret in ("secret", "its_guess", keys["reader"]))


def test_queries_are_told_where_that_was_asked_for(serving, built, lines):
    client = serving({"spaces": {"shop": built}, "logs": {"queries": True}})
    client.post(f"{SHOP}/search", json={"query": "red tent"})
    client.post(f"{SHOP}/search/batch", json={"queries": ["red tent", "boots"]})
    assert [line["query"] for line in lines()] == ["red tent", ["red tent", "boots"]]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b"abc-123", True),
        (b"4bf92f3577b34da6a3ce929d0e0e4736", True),
        (b"a b", False),
        (b"", False),
        (b"x" * 200, False),
    ],
)
def test_ids_that_can_stand_in_a_log(given, kept):
    found = request_id({b"x-request-id": given})
    assert (found == given.decode()) == kept
    assert found


def test_every_request_has_an_id_of_its_own(client):
    ids = {client.get("/health").headers["x-request-id"] for _ in range(50)}
    assert len(ids) == 50
    forged = client.get("/health", headers={"X-Request-ID": 'x", "status": 200'})
    assert forged.headers["x-request-id"] != 'x", "status": 200'


def test_a_record_as_json_and_as_words():
    record = logging.LogRecord("itemspace.serve.requests", logging.INFO, "", 0, "request", (), None)
    record.told = {"request_id": "abc", "status": 200, "query": 'a "b"\nc'}
    entry = json.loads(JsonLines().format(record))
    assert (entry["message"], entry["level"], entry["request_id"], entry["query"]) == (
        "request",
        "info",
        "abc",
        'a "b"\nc',
    )
    assert "\n" not in JsonLines().format(record)
    assert "status=200" in Words().format(record)


def test_counters(serving, built):
    client = serving({"spaces": {"shop": built}})
    client.post(f"{SHOP}/search", json={"query": "boots"})
    client.post(f"{SHOP}/search", json={"query": "boots", "where": "nope <"})
    client.post(f"{SHOP}/search/batch", json={"queries": ["boots", "tent", "hat"]})
    client.get("/no/such/path/with/names")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    values = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    search = ("route", "/v1/spaces/{space}/search")
    assert values["itemspace_requests_total", search, ("status", "200")] == 1
    assert values["itemspace_requests_total", search, ("status", "422")] == 1
    assert values["itemspace_requests_total", ("route", "(none)"), ("status", "404")] == 1
    assert values["itemspace_refused_total", ("type", "bad_filter")] == 1
    assert values["itemspace_request_seconds_count", search] == 2
    assert values["itemspace_batch_size_sum", ("route", "/v1/spaces/{space}/search/batch")] == 3
    assert values["itemspace_answered_together_sum", ("space", "shop")] == 2
    assert values["itemspace_space_items", ("space", "shop")] == 300
    assert values["itemspace_in_flight",] == 1  # the one that asks
    assert "no/such" not in answer.text


WORKER = """
import sys
from itemspace.serve.metrics import Metrics
made = Metrics()
for _ in range(2):
    made.began()
    if sys.argv[1] == "ends":
        made.ended("/search", 200, 0.01, None)
print("ready", flush=True)
sys.stdin.read()
"""


def test_counters_of_several_processes_are_told_together(tmp_path):
    """Whichever worker is asked: requests of all, and at work what is at work in those that live."""
    import os
    import subprocess
    import sys

    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    start = lambda word: subprocess.Popen(  # noqa: E731
        [sys.executable, "-c", WORKER, word], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    workers = [start("ends"), start("works"), start("dies")]
    try:
        assert all(worker.stdout.readline() == b"ready\n" for worker in workers)
        workers[2].kill()
        workers[2].wait()
        ask = "from itemspace.serve.metrics import Metrics; print(Metrics().text([]).decode())"
        told = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True)
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(told.stdout)
        for sample in family.samples
        if not sample.labels or sample.labels.get("status") == "200"
    }
    assert values["itemspace_requests_total"] == 2
    assert values["itemspace_in_flight"] == 2  # those of the one that still works
