"""A training killed by the operating system continues to bit-identical weights."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("torch")

from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.interactions import Interactions
from itemspace.recommend.sasrec import SASRec


def train(checkpoint: Path | None, on_epoch=None) -> np.ndarray:
    """All weights after six epochs in bfloat16 on one thread."""
    import torch

    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 25, 120)
    users = [f"u{u}" for u in np.repeat(np.arange(120), lengths)]
    items = [f"i{i}" for i in rng.integers(0, 60, lengths.sum())]
    catalog = Catalog.from_table(pa.table({"item_id": [f"i{i}" for i in range(60)]}))
    data = Dataset(catalog, Interactions.from_columns(users, items, items=catalog.ids))
    model = SASRec(
        embedding_size=16, inner_size=32, max_length=12, batch_size=16, epochs=6, patience=None, precision="bfloat16"
    )
    model.checkpoint, model.on_epoch = checkpoint, on_epoch
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    model.fit(data, rng=3)
    torch.set_num_threads(before)
    return np.concatenate([p.detach().numpy().ravel() for p in model._module.parameters()])


def test_a_sigkilled_training_ends_with_the_same_bits(tmp_path):
    command = [sys.executable, __file__, str(tmp_path / "fit")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as broken:
        assert broken.stdout is not None
        seen = [broken.stdout.readline(), broken.stdout.readline()]
        time.sleep(0.01)  # somewhere in the third epoch, or after it
        broken.kill()
    assert seen == ["1\n", "2\n"]
    continued: list[int] = []
    resumed = train(tmp_path / "fit", lambda epoch, *_: continued.append(epoch))
    assert continued[0] > 2
    assert continued[-1] == 6
    np.testing.assert_array_equal(resumed, train(None))


if __name__ == "__main__":

    def told(epoch: int, *_: object) -> None:
        print(epoch, flush=True)
        time.sleep(0.2)  # so that the kill comes before the end

    train(Path(sys.argv[1]), told)
