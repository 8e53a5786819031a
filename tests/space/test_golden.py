"""Spaces of every format that was ever released open and answer as they did."""

import json
import tarfile
from pathlib import Path

import pytest

from itemspace.core.errors import FormatVersionError
from itemspace.space import Space
from tests.space.golden.make import answers

GOLDEN = Path(__file__).parent / "golden"
FORMATS = sorted(int(path.stem.split("-")[1]) for path in GOLDEN.glob("answers-*.json"))


@pytest.fixture(params=FORMATS)
def golden(request, tmp_path):
    with tarfile.open(GOLDEN / f"space-{request.param}.tar.gz") as archive:
        # The first releases of Python 3.11 have no filters; the archive is our own.
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return tmp_path / "golden.space", json.loads((GOLDEN / f"answers-{request.param}.json").read_text())


def test_it_opens_and_answers(golden):
    path, expected = golden
    with Space.open(path) as space:
        assert answers(space) == expected


def test_it_can_still_be_changed(golden):
    path, _ = golden
    with Space.open(path) as space:
        space.update([{"item_id": "GOLD-1", "price": 1.0}])
    with Space.open(path) as space:
        assert space.catalog.item("GOLD-1")["price"] == 1.0


def test_one_of_a_newer_format_is_refused_with_the_version_to_install(golden):
    path, _ = golden
    current = json.loads((path / "CURRENT").read_text())
    manifest = path / "generations" / current["generation"] / "manifest.json"
    told = json.loads(manifest.read_text()) | {"format": 99, "itemspace": "9.9"}
    manifest.write_text(json.dumps(told))
    with pytest.raises(FormatVersionError, match=r"(?s)format 99.*itemspace>=9\.9"):
        Space.open(path)
