"""Real processes at one address: they share the work, end in order, and one that dies is started again."""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")
from itemspace.core.errors import RecipeError
from itemspace.serve.run import listening, worker_environment

HOME = Path(__file__).parents[3]
BARE = "tests.serve.live.bare:make"


class Process:
    """A supervisor as a process, and what it says."""

    def __init__(self, app, path, workers):
        command = [sys.executable, "-m", "tests.serve.live.supervised", app, str(path), str(workers)]
        places = [str(HOME), str(HOME / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
        environment.pop("OMP_NUM_THREADS", None)
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        self.told = []
        self.port = 0
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.told.append(line.rstrip())

    def until(self, pattern, seconds=30):
        """The first line said that matches."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line in list(self.told):
                if found := re.search(pattern, line):
                    return found
            time.sleep(0.02)
        raise AssertionError(f"never said {pattern!r}: {self.told}")

    def started(self):
        self.port = int(self.until(r"http://127\.0\.0\.1:(\d+)")[1])
        return self

    def get(self, path="/", connection=None):
        """Status, body and headers of one request."""
        asked = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        asked.request("POST", path)
        answer = asked.getresponse()
        body = answer.read().decode()
        if connection is None:
            asked.close()
        return answer.status, body, dict(answer.getheaders())

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def server(built):
    made = []

    def start(app=BARE, workers=2):
        made.append(Process(app, built, workers))
        return made[-1]

    yield start
    for one in made:
        with contextlib.suppress(ProcessLookupError):
            one.process.kill()
        one.process.wait()
        one.reader.join()
        one.process.stdout.close()


def test_workers_answer_and_the_one_that_dies_is_started_again(server):
    running = server().started()
    seen = {running.get()[1].split()[0] for _ in range(60)}
    assert len(seen) <= 2
    with pytest.raises((ConnectionError, http.client.BadStatusLine)):
        running.get("/die")
    assert all(running.get()[0] == 200 for _ in range(20))  # the other one, at once
    running.until("SIGKILL.*started again")
    deadline = time.monotonic() + 20
    after = set()
    while len(after - seen) < 1 and time.monotonic() < deadline:
        after.add(running.get()[1].split()[0])
    assert after - seen
    assert running.end() == 0
    assert "Stopped." in running.told


def test_connections_that_are_kept_are_spread_over_the_workers(server):
    running = server().started()
    # Opened all at once, before any is asked: a worker that wakes first must not take them all.
    kept = [http.client.HTTPConnection("127.0.0.1", running.port, timeout=20) for _ in range(40)]
    for connection in kept:
        connection.connect()
    answered = [running.get("/", connection)[1].split()[0] for connection in kept]
    each = sorted(answered.count(worker) for worker in set(answered))
    assert len(each) == 2
    assert each[0] >= 5  # with even odds fewer come once in five million runs
    assert [running.get("/", connection)[1].split()[0] for connection in kept] == answered
    for connection in kept:
        connection.close()
    assert running.end() == 0


def test_what_waits_for_a_worker_that_hangs_is_answered_by_another(server):
    running = server().started()
    workers = {int(running.get()[1].split()[0]) for _ in range(60)}
    assert len(workers) == 2
    hung, other = sorted(workers)
    os.kill(hung, signal.SIGSTOP)
    try:
        assert {int(running.get()[1].split()[0]) for _ in range(12)} == {other}
    finally:
        os.kill(hung, signal.SIGCONT)
    assert running.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ending_answers_what_is_under_way_and_takes_nothing_new(server, number):
    running = server(workers=1).started()
    kept = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    assert "connection" not in running.get("/", kept)[2]
    answers = []
    slow = threading.Thread(target=lambda: answers.append(running.get("/slow?1.0")))
    slow.start()
    time.sleep(0.3)
    running.process.send_signal(number)
    running.until("Stopping")
    time.sleep(0.2)
    with pytest.raises(ConnectionError):
        running.get()
    status, _, headers = running.get("/", kept)  # who is connected may still ask, once
    assert (status, headers["connection"]) == (200, "close")
    slow.join()
    assert answers[0][0] == 200
    assert running.process.wait(30) == 0


def test_workers_end_when_the_supervisor_is_killed(server):
    running = server(workers=1).started()
    worker = int(running.get()[1].split()[0])
    running.process.kill()
    running.process.wait()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()


def test_an_application_that_cannot_be_made_is_told_and_nothing_is_served(server):
    running = server("tests.serve.live.bare:broken")
    assert running.process.wait(30) == 1
    running.until("itemspace: this application is never made")
    running.until("nothing is served")


def test_an_address_that_is_taken_is_told_with_the_way_out():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for workers in (1, 2):
            with pytest.raises(RecipeError, match=f"127.0.0.1:{port}.*--port"):
                listening("127.0.0.1", port, workers)
    with pytest.raises(RecipeError, match="not known"):
        listening("no.such.host.invalid", 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_workers_listen_at_one_address_that_counts_as_taken(host):
    try:
        found = listening(host, 0, 3)
    except RecipeError:
        pytest.skip(f"no {host} here")
    try:
        assert len(found) == 3
        places = {one.getsockname()[:2] for sockets in found for one in sockets}
        assert len(places) == 1
        for workers in (1, 2):
            with pytest.raises(RecipeError, match="--port"):
                listening(host, next(iter(places))[1], workers)
    finally:
        for sockets in found:
            for one in sockets:
                one.close()


def test_math_threads_are_the_workers_share_and_what_is_set_stays(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    told = worker_environment(10_000)
    assert (told["OMP_NUM_THREADS"], told["MKL_NUM_THREADS"], told["MALLOC_ARENA_MAX"]) == ("1", "7", "2")
    monkeypatch.setenv("MALLOC_ARENA_MAX", "8")
    assert worker_environment(1)["MALLOC_ARENA_MAX"] == "8"
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert worker_environment(2)["OMP_NUM_THREADS"] == "4"
