"""A fit that is killed goes on from its checkpoint, and ends with the weights of one that was not."""

import subprocess
import sys
import time

import pytest

from itemspace.jobs.backends import InProcess
from itemspace.jobs.running import drive
from itemspace.jobs.training import plan_train

EPOCHS = 20


def test_a_killed_fit_goes_on_from_its_checkpoint(shop, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from itemspace.train.loop import Loop

    sasrec = {"name": "sasrec", "epochs": EPOCHS, "embedding_size": 8, "inner_size": 8, "num_layers": 1, "num_heads": 1}
    recipe = {"recommender": sasrec, "encoder": False}
    whole = plan_train(shop, tmp_path / "whole", recipe=recipe)
    job = plan_train(shop, tmp_path / "killed", recipe=recipe)
    code = f"from itemspace.jobs import Job, run; run(Job.open({str(job.path)!r}))"
    driver = subprocess.Popen([sys.executable, "-c", code])
    checkpoint = job.path / "scratch" / "fit-000000" / "checkpoint"
    while not checkpoint.exists():
        assert driver.poll() is None
        time.sleep(0.01)
    driver.kill()
    driver.wait()
    assert job.result is None
    epochs, one_epoch = [], Loop._one_epoch

    def counted(loop, **options):
        epochs.append(loop.epoch)
        one_epoch(loop, **options)

    monkeypatch.setattr(Loop, "_one_epoch", counted)
    drive(job, InProcess())
    assert 0 < len(epochs) < EPOCHS
    assert epochs[-1] == EPOCHS - 1
    drive(whole, InProcess())
    weights = [job.out / "recommender" / "weights.safetensors" for job in (job, whole)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert not checkpoint.exists()
