"""Chunks that fail, workers that die, drivers that are killed: the result is whole, or it is said which rows are to blame."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from itemspace.core.errors import ArtifactError, InUseError, RequestError
from itemspace.jobs import Job, JobError, Retries, backends, resume, run, status
from itemspace.jobs.backends import InProcess, Processes
from itemspace.jobs.running import drive
from tests.jobs import works

QUICK = Retries(pause=0.01)


def squares(job):
    return np.load(job.out / "squares.npy")


def test_a_job_is_done_and_tells_what_it_cost(tmp_path):
    job = works.plan(tmp_path / "out", rows=21, size=4, fits=True)
    told = run(job)
    assert squares(job).tolist() == [3 * n * n for n in range(21)]
    assert told["rows"] == 21
    assert told["chunks"] == 7
    assert told["phases"]["square"]["rows"] == 21
    assert status(job.path).state == "done"
    assert not list((job.path / "chunks").rglob("*.npy"))  # they have served their purpose


def test_done_once_is_done(tmp_path):
    first = run(works.plan(tmp_path / "out"))
    assert run(works.plan(tmp_path / "out")) == first
    assert resume(tmp_path / "out.job").result == first


def test_several_processes_give_what_one_gives(tmp_path):
    one, two = works.plan(tmp_path / "one", rows=50, size=3), works.plan(tmp_path / "two", rows=50, size=3)
    run(one, keep_chunks=True)
    told = run(two, workers=2, keep_chunks=True)
    assert (one.out / "squares.npy").read_bytes() == (two.out / "squares.npy").read_bytes()
    assert told["phases"]["square"]["workers"] == 2
    assert told["phases"]["square"]["checksum"] == one.result["phases"]["square"]["checksum"]


def test_what_fails_once_is_tried_again_and_told(tmp_path):
    said = []
    told = run(works.plan(tmp_path / "out", flaky=[1, 3]), retries=QUICK, say=said.append)
    assert told["phases"]["square"]["retried"] == 2
    assert [line.split(":")[0] for line in said] == ["square-000001", "square-000003"]
    assert "the network blinked" in said[0]


def test_a_poisonous_row_is_named_and_the_rest_is_kept(tmp_path):
    job = works.plan(tmp_path / "out", rows=64, size=16, poison=[21, 30, 50])
    with pytest.raises(JobError) as caught:
        run(job, retries=QUICK)
    assert "2 of 4 chunks of square" in str(caught.value)
    assert "To blame: row-21, row-30" in str(caught.value)
    assert "To blame: row-50" in str(caught.value)
    assert not job.out.exists()
    found = status(job.path)
    assert found.state == "failed"
    assert found.phases[0].done == 2
    assert [failure["rows"] for failure in found.failures] == [["row-21", "row-30"], ["row-50"]]


def test_a_mended_job_goes_on(tmp_path):
    job = works.plan(tmp_path / "out", rows=8, size=2, poison=[5])
    with pytest.raises(JobError):
        run(job, retries=QUICK)
    before = {p: p.stat().st_mtime_ns for p in (job.path / "chunks").rglob("*.json")}
    told = json.loads((job.path / "job.json").read_text())
    told["options"]["poison"] = []  # the cause is mended behind the job's back
    (job.path / "job.json").write_text(json.dumps(told))
    said = []
    resume(job.path, say=said.append)
    assert squares(job).tolist() == [n * n for n in range(8)]
    assert said == ["square: 3 of 4 chunks are done already, kept"]
    assert all(path.stat().st_mtime_ns == was for path, was in before.items())
    assert status(job.path).failures == ()


def test_where_everything_fails_it_stops_early(tmp_path):
    job = works.plan(tmp_path / "out", rows=40, size=2, poison=list(range(40)))
    with pytest.raises(JobError, match=r"3 of 20 chunks"):
        run(job, retries=Retries(attempts=1, give_up=3))


def test_a_worker_that_dies_is_replaced(tmp_path):
    said = []
    job = works.plan(tmp_path / "out", rows=20, size=4, deadly={"2": 2})
    with Processes(2) as workers:
        told = drive(job, workers, retries=QUICK, say=said.append)
    assert squares(job).tolist() == [n * n for n in range(20)]
    assert told["phases"]["square"]["retried"] == 1
    assert sum("killed by signal 9" in line for line in said) == 2


def test_a_chunk_that_kills_every_worker_is_named_by_its_rows(tmp_path):
    job = works.plan(tmp_path / "out", rows=8, size=4, deadly={"1": 99})
    with pytest.raises(
        JobError, match=r"square-000001: worker process \d+ was killed by signal 9. Rows 4 to 7: row-4 ... row-7"
    ):
        run(job, workers=2, retries=Retries(losses=2, pause=0.01))


def test_a_killed_driver_leaves_what_it_finished(tmp_path):
    job = works.plan(tmp_path / "out", rows=40, size=2, seconds=0.05)
    code = f"from itemspace.jobs import Job, run; run(Job.open({str(job.path)!r}), workers=2)"
    driver = subprocess.Popen([sys.executable, "-c", code])
    while sum(1 for _ in (job.path / "chunks").rglob("*.json")) < 5:
        assert driver.poll() is None
        time.sleep(0.02)
    assert status(job.path).state == "running"
    with pytest.raises(InUseError, match=f"process {driver.pid}"):
        run(job)
    driver.kill()
    driver.wait()
    workers = {json.loads(path.read_bytes())["pid"] for path in (job.path / "chunks").rglob("[0-9]*.json")}
    until = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)  # they end with their driver
    stopped = status(job.path)
    assert stopped.state == "stopped"
    assert 5 <= stopped.phases[0].done < 20
    told = resume(job.path).result
    assert squares(job).tolist() == [n * n for n in range(40)]
    assert told["phases"]["square"]["retried"] == 0


def test_a_damaged_output_is_made_again(tmp_path):
    said = []
    job = works.plan(tmp_path / "out", rows=8, size=2)
    run_until_chunks(job)
    victim = next(iter((job.path / "chunks").rglob("*.npy")))
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    resume(job.path, say=said.append)
    assert squares(job).tolist() == [n * n for n in range(8)]
    assert "1 chunks are not as they were written" in said[-1]


def run_until_chunks(job):
    """All chunks done, the result not yet put in its place."""
    run(job, keep_chunks=True)
    (job.path / "result.json").unlink()
    for path in job.out.iterdir():
        path.unlink()
    job.out.rmdir()


def test_killed_between_the_result_and_its_note_nothing_is_written_twice(tmp_path):
    job = works.plan(tmp_path / "out", rows=8, size=2)
    run(job, keep_chunks=True)
    (job.path / "result.json").unlink()
    made = (job.out / "squares.npy").stat().st_mtime_ns
    resume(job.path)
    assert (job.out / "squares.npy").stat().st_mtime_ns == made


def test_a_result_of_somebody_else_is_never_written_over(tmp_path):
    job = works.plan(tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("mine")
    with pytest.raises(ArtifactError, match="not of this job"):
        run(job)
    with pytest.raises(ArtifactError, match="is there already"):
        works.plan(tmp_path / "out", job=tmp_path / "other.job")
    assert (tmp_path / "out" / "precious").read_text() == "mine"


def test_a_folder_is_one_jobs(tmp_path):
    works.plan(tmp_path / "out", rows=8)
    with pytest.raises(ArtifactError, match="holds another job"):
        works.plan(tmp_path / "out", rows=9)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("")
    with pytest.raises(ArtifactError, match="not a job and not empty"):
        works.plan(tmp_path / "new", job=tmp_path / "full")


def test_what_another_version_planned_is_not_mixed_with(tmp_path):
    job = works.plan(tmp_path / "out")
    told = json.loads((job.path / "job.json").read_text())
    (job.path / "job.json").write_text(json.dumps(told | {"itemspace": "0.0.1"}))
    with pytest.raises(ArtifactError, match=r"planned by itemspace 0\.0\.1"):
        Job.open(job.path)
    with pytest.raises(ArtifactError, match="there is no job"):
        resume(tmp_path)


def test_impossible_workers_are_refused(tmp_path):
    job = works.plan(tmp_path / "out")
    for given in (0, -1, True, "2"):
        with pytest.raises(RequestError, match="workers"):
            run(job, workers=given)
    with pytest.raises(RequestError, match="threads"):
        run(job, threads=0)


def test_threads_that_cannot_be_held_here_are_held_in_a_process(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    assert isinstance(backends.choose(1, None, 1), Processes)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert isinstance(backends.choose(1, None, 1), InProcess)


def test_a_planning_that_was_killed_is_begun_anew(tmp_path):
    home = tmp_path / "out.job"
    (home / ".planning-1" / "half").mkdir(parents=True)
    with pytest.raises(ArtifactError, match="its planning did not finish"):
        Job.open(home)
    run(works.plan(tmp_path / "out"))
    assert not list(home.glob(".planning-*"))


def test_a_plan_that_names_no_kind_of_job_is_refused(tmp_path):
    job = works.plan(tmp_path / "out")
    told = json.loads((job.path / "job.json").read_text())
    (job.path / "job.json").write_text(json.dumps(told | {"work": "json:dumps"}))
    with pytest.raises(JobError, match="json:dumps is not a kind of job"):
        run(Job.open(job.path))
    (job.path / "job.json").write_text("[]")
    with pytest.raises(ArtifactError, match="is damaged"):
        Job.open(job.path)
