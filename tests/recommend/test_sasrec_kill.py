"""A training killed by the operating system continues to bit-identical weights."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

TRAIN = """
import sys
from pathlib import Path
import numpy as np, pyarrow as pa, torch
from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.interactions import Interactions
from itemspace.recommend.sasrec import SASRec

torch.set_num_threads(1)
rng = np.random.default_rng(0)
lengths = rng.integers(2, 25, 120)
users = [f"u{u}" for u in np.repeat(np.arange(120), lengths)]
items = [f"i{i}" for i in rng.integers(0, 60, lengths.sum())]
catalog = Catalog.from_table(pa.table({"item_id": [f"i{i}" for i in range(60)]}))
data = Dataset(catalog, Interactions.from_columns(users, items, items=catalog.ids))
model = SASRec(embedding_size=16, inner_size=32, max_length=12, batch_size=16, epochs=6, loss=sys.argv[2],
               num_negatives=20 if sys.argv[2] == "sampled-softmax" else None, precision="bfloat16")
if sys.argv[1]:
    model.checkpoint = Path(sys.argv[1])
model.on_epoch = lambda epoch, *_: print(epoch, flush=True)
model.fit(data, rng=3)
np.save(sys.argv[3], np.concatenate([p.detach().numpy().ravel() for p in model._module.parameters()]))
"""


def training(checkpoint: Path | str, loss: str, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", TRAIN, str(checkpoint), loss, str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("loss", ["softmax", "sampled-softmax"])
def test_a_sigkilled_training_ends_with_the_same_bits(tmp_path, loss):
    whole = training("", loss, tmp_path / "whole.npy")
    broken = training(tmp_path / "fit", loss, tmp_path / "broken.npy")
    assert broken.stdout is not None
    for _ in range(2):
        broken.stdout.readline()
    time.sleep(0.01)  # somewhere in an epoch
    broken.kill()
    broken.communicate()
    assert not (tmp_path / "broken.npy").exists()
    resumed = training(tmp_path / "fit", loss, tmp_path / "resumed.npy")
    epochs = [int(line) for line in resumed.communicate()[0].split()]
    whole.communicate()
    assert whole.returncode == 0
    assert epochs[0] > 1
    assert epochs[-1] == 6
    np.testing.assert_array_equal(np.load(tmp_path / "resumed.npy"), np.load(tmp_path / "whole.npy"))
