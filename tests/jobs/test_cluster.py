"""The same jobs on a Ray cluster of two nodes: the same files, whoever is killed."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from itemspace.core.errors import RequestError
from itemspace.jobs import Retries, run, status
from itemspace.jobs.cluster import sees
from itemspace.jobs.folder import Job
from itemspace.testing import cluster
from tests.jobs import works


def where_ray_may_run():
    pytest.importorskip("ray", reason="Ray is not installed (extra: jobs)")
    if cluster.inside() is None:
        pytest.skip("this machine gives no network namespace to a process (unshare --net), and Ray listens everywhere")


def receipts(job):
    return [json.loads(path.read_bytes()) for path in sorted((job.path / "chunks").rglob("*.json"))]


def scenario(address, folder):
    """Inside: a job with a worker that dies, one that loses a node, and one whose driver is killed."""
    home, told = Path(folder), {}
    cluster.wait_for_nodes()
    parity = works.plan(home / "parity", rows=40, size=2, fits=True, seconds=0.1, deadly={"3": 1})
    said = []
    run(parity, ray=address, workers=2, keep_chunks=True, retries=Retries(pause=0.01), say=said.append)
    told["said"], told["workers"] = said, len({one["pid"] for one in receipts(parity)})

    killed = works.plan(home / "killed", rows=60, size=2, seconds=0.2)
    code = f"from itemspace.jobs import Job, run; run(Job.open({str(killed.path)!r}), ray={address!r}, workers=2)"
    driver = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while len(receipts(killed)) < 4:
        assert driver.poll() is None
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    told["left"] = status(killed.path).phases[0].done
    run(killed, ray=address, workers=2)

    lost = works.plan(home / "lost", rows=16, size=2, seconds=1)

    def strike():
        while len(receipts(lost)) < 2:
            time.sleep(0.05)
        time.sleep(0.4)  # in the middle of a chunk
        told["struck"] = cluster.kill_node()

    threading.Thread(target=strike, daemon=True).start()
    said = []
    run(lost, ray=address, workers=2, retries=Retries(pause=0.01), say=said.append)
    told["node"], told["alive"] = said, cluster.alive()
    return told


@pytest.mark.slow
def test_two_nodes_give_what_one_process_gives_and_survive_what_is_killed(tmp_path):
    where_ray_may_run()
    told = cluster.call(scenario, tmp_path)
    local = works.plan(tmp_path / "local", rows=40, size=2, fits=True)
    run(local, keep_chunks=True)
    there, here = Job.open(tmp_path / "parity.job"), local
    assert (there.out / "squares.npy").read_bytes() == (here.out / "squares.npy").read_bytes()
    assert [one["files"] for one in receipts(there)] == [one["files"] for one in receipts(here)]
    assert told["workers"] > 2  # both nodes', and the one that took the place of the dead
    assert any("square-000003: its worker was lost" in line for line in told["said"])
    assert 4 <= told["left"] < 30
    assert np.load(tmp_path / "killed" / "squares.npy").tolist() == [n * n for n in range(60)]
    assert told["struck"] >= 2  # the node's daemon and its worker
    assert told["alive"] == 1
    assert all("lost" in line for line in told["node"])
    assert np.load(tmp_path / "lost" / "squares.npy").tolist() == [n * n for n in range(16)]


def test_a_cluster_that_is_not_there_is_said_at_once(tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed (extra: jobs)")
    job = works.plan(tmp_path / "out")
    began = time.monotonic()
    with pytest.raises(RequestError, match=r"nothing answers at 127\.0\.0\.1:9"):
        run(job, ray="127.0.0.1:9")
    for odd in ("here", "host:", ":123", "host:99999"):
        with pytest.raises(RequestError, match="not the address"):
            run(job, ray=odd)
    assert time.monotonic() - began < 10


def test_a_node_says_why_it_cannot_work_on_a_job(tmp_path):
    job = works.plan(tmp_path / "out")
    assert sees(str(job.path), job.key) == ""
    assert "sees another job" in sees(str(job.path), "another")
    assert "must see the folder under the same path" in sees(str(tmp_path / "elsewhere"), job.key)
