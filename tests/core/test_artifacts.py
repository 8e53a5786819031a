"""Artifacts: what a reader may rely on, whatever happens to writers."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from itemspace.core.artifacts import Artifact, load_arrays, read_json, save_arrays, write_json_atomic
from itemspace.core.errors import ArtifactError, FormatVersionError

# A generation as format 1 wrote it, by hand: this must open for ever.
ROWS_NPY = (
    b"\x93NUMPY\x01\x00v\x00{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }"
    + b" " * 60
    + b"\n\x05\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00"
)


def golden(path: Path, *, format: int = 1, type: str = "index.golden") -> Path:
    folder = path / "generations" / "000001"
    folder.mkdir(parents=True)
    (folder / "rows.npy").write_bytes(ROWS_NPY)
    manifest = {
        "type": type,
        "format": format,
        "itemspace": "0.1.0" if format == 1 else "9.2.0",
        "created": "2026-01-01T00:00:00+00:00",
        "store_version": 17,
        "checksums": {"rows.npy": {"size": len(ROWS_NPY), "sha256": hashlib.sha256(ROWS_NPY).hexdigest()}},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (path / "CURRENT").write_text('{"generation": "000001"}\n')
    return path


def written(path: Path, *, times: int = 1) -> Artifact:
    artifact = Artifact.create(path, type="test", format=1)
    for i in range(times):
        with artifact.write(manifest={"number": i}) as folder:
            save_arrays(folder, rows=np.arange(100 + i))
            (folder / "deep").mkdir()
            (folder / "deep" / "note.txt").write_text(f"generation {i}")
    return artifact


def read(path: Path) -> Artifact:
    return Artifact.open(path, type="test", format=1)


def test_the_golden_artifact_opens(tmp_path):
    artifact = Artifact.open(golden(tmp_path / "g"), type="index.golden", format=1)
    assert artifact.generation == "000001"
    assert artifact.manifest["store_version"] == 17
    artifact.verify()
    assert load_arrays(artifact.folder)["rows"].tolist() == [5, 0, 7]


def test_a_newer_format_is_refused_with_the_version_needed(tmp_path):
    with pytest.raises(FormatVersionError, match=r"format 2, written by itemspace 9\.2\.0") as error:
        Artifact.open(golden(tmp_path / "g", format=2), type="index.golden", format=1)
    assert "reads formats up to 1" in str(error.value)
    assert 'pip install "itemspace>=9.2.0"' in str(error.value)
    with pytest.raises(FormatVersionError):
        Artifact.create(tmp_path / "g", type="index.golden", format=1)


def test_another_type_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"type 'index.golden', not 'index.flat'"):
        Artifact.open(golden(tmp_path / "g"), type="index.flat", format=1)


def test_what_is_written_is_read_and_the_manifest_says_what_it_is(tmp_path):
    artifact = written(tmp_path / "a")
    for opened in (artifact, read(tmp_path / "a")):
        assert opened.generation == "000001"
        assert {"type", "format", "itemspace", "created", "checksums", "number"} == set(opened.manifest)
        assert set(opened.manifest["checksums"]) == {"rows.npy", "deep/note.txt"}
        opened.verify()
        assert (opened.folder / "deep" / "note.txt").read_text() == "generation 0"


def test_a_reader_keeps_its_generation(tmp_path):
    artifact = written(tmp_path / "a")
    reader = read(tmp_path / "a")
    with artifact.write(manifest={"number": 1}) as folder:
        save_arrays(folder, rows=np.zeros(3))
    assert (reader.generation, artifact.generation) == ("000001", "000002")
    assert reader.manifest["number"] == 0
    assert len(load_arrays(reader.folder)["rows"]) == 100
    assert read(tmp_path / "a").generation == "000002"


def test_prune_spares_what_is_current_or_read(tmp_path):
    artifact = written(tmp_path / "a", times=2)
    reader = read(tmp_path / "a")
    for _ in range(4):
        with artifact.write(manifest={}) as folder:
            save_arrays(folder, rows=np.zeros(3))
    assert artifact.prune(keep=2) == ["000001", "000003", "000004"]
    reader.verify()
    reader.close()
    assert artifact.prune(keep=2) == ["000002"]
    assert artifact.prune(keep=0) == ["000005"]
    assert read(tmp_path / "a").generation == "000006"


def test_an_exception_changes_nothing(tmp_path):
    artifact = written(tmp_path / "a")

    def failing():
        with artifact.write(manifest={}) as folder:
            (folder / "half").write_text("half")
            raise RuntimeError("the build failed")

    with pytest.raises(RuntimeError, match="the build failed"):
        failing()
    assert os.listdir(tmp_path / "a" / "generations") == ["000001"]
    assert read(tmp_path / "a").generation == "000001"
    with pytest.raises(ArtifactError, match="`checksums` is set by"), artifact.write(manifest={"checksums": {}}):
        pass


def damage_current(path):
    (path / "CURRENT").write_text("{")


def damage_pointer(path):
    (path / "CURRENT").write_text('{"generation": "../../etc"}')


def damage_manifest(path):
    file = path / "generations" / "000001" / "manifest.json"
    file.write_text(file.read_text().replace('"number": 0', '"number": 1'))


def cut_manifest(path):
    file = path / "generations" / "000001" / "manifest.json"
    file.write_text(file.read_text()[:50])


def cut_file(path):
    file = path / "generations" / "000001" / "rows.npy"
    file.write_bytes(file.read_bytes()[:-1])


def remove_file(path):
    (path / "generations" / "000001" / "deep" / "note.txt").unlink()


def remove_generation(path):
    (path / "generations" / "000001").rename(path / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_current, "CURRENT is damaged"),
        (damage_pointer, "CURRENT is damaged"),
        (damage_manifest, r"manifest.json is damaged: its checksum"),
        (cut_manifest, "manifest.json is damaged"),
        (cut_file, r"rows.npy is damaged: 927 bytes instead of 928"),
        (remove_file, r"deep/note.txt is missing"),
        (remove_generation, "000001/manifest.json is missing"),
    ],
)
def test_damage_is_named_on_opening(tmp_path, damage, message):
    written(tmp_path / "a").close()
    damage(tmp_path / "a")
    with pytest.raises(ArtifactError, match=message):
        read(tmp_path / "a")


def test_verify_finds_a_flipped_bit(tmp_path):
    artifact = written(tmp_path / "a")
    file = artifact.folder / "rows.npy"
    content = bytearray(file.read_bytes())
    content[500] ^= 1
    file.write_bytes(content)
    opened = read(tmp_path / "a")
    with pytest.raises(ArtifactError, match=r"rows\.npy is damaged: its checksum"):
        opened.verify()


def test_places_that_are_no_artifact_say_so(tmp_path):
    with pytest.raises(ArtifactError, match="does not exist"):
        read(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    with pytest.raises(ArtifactError, match="not an itemspace artifact"):
        read(tmp_path / "other")
    (tmp_path / "other" / "photo.jpg").write_text("x")
    with pytest.raises(ArtifactError, match=r"not empty and not an artifact \(it holds photo.jpg\)"):
        Artifact.create(tmp_path / "other", type="test", format=1)
    with pytest.raises(ArtifactError, match="is a file"):
        Artifact.create(tmp_path / "other" / "photo.jpg", type="test", format=1)
    begun = Artifact.create(tmp_path / "begun", type="test", format=1)
    with pytest.raises(ArtifactError, match="no finished generation"):
        _ = begun.folder
    with pytest.raises(ArtifactError, match="no finished generation"):
        read(tmp_path / "begun")


def test_two_writers_do_not_mix(tmp_path):
    first, second = written(tmp_path / "a"), Artifact.create(tmp_path / "a", type="test", format=1)
    with first.write(manifest={}) as folder:
        with pytest.raises(ArtifactError, match=f"written by process {os.getpid()}"), second.write(manifest={}):
            pass
        (folder / "x").write_text("x")
    with second.write(manifest={}) as folder:
        (folder / "y").write_text("y")
    assert read(tmp_path / "a").generation == "000003"


WRITER = """
import sys, numpy as np
from pathlib import Path
from itemspace.core.artifacts import Artifact, save_arrays
artifact = Artifact.create(Path(sys.argv[1]), type="test", format=1)
number = int(sys.argv[2])
while True:
    with artifact.write(manifest={"number": number}) as folder:
        for part in range(4):
            save_arrays(folder, **{f"part{part}": np.full(20_000, number)})
    artifact.prune()
    print(number, flush=True)
    number += 1
"""


def test_kills_leave_the_last_good_generation(tmp_path):
    rng, number = np.random.default_rng(0), 0
    for _ in range(5):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "a"), str(number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            lines = [writer.stdout.readline()]
            time.sleep(rng.uniform(0, 0.05))
            writer.kill()
            lines += writer.stdout.readlines()
        acknowledged = int(lines[-1])
        opened = read(tmp_path / "a")
        opened.verify()
        assert opened.manifest["number"] in (acknowledged, acknowledged + 1)
        for array in load_arrays(opened.folder).values():
            assert (array == opened.manifest["number"]).all()
        number = opened.manifest["number"] + 1
        opened.close()
    leftovers = [p for p in (tmp_path / "a" / "generations").iterdir() if p.name.startswith(".")]
    assert len(leftovers) <= 2  # of the last kill only: each writer clears what the one before it left
    written(tmp_path / "a").prune()
    assert not [p for p in (tmp_path / "a" / "generations").iterdir() if p.name.startswith(".")]


def test_json_is_replaced_at_once_and_read_with_clear_errors(tmp_path):
    path = tmp_path / "value.json"
    write_json_atomic(path, {"größe": [1, None]})
    assert read_json(path) == {"größe": [1, None]}
    with pytest.raises(ValueError, match="JSON"):
        write_json_atomic(path, float("nan"))
    assert read_json(path) == {"größe": [1, None]}
    assert os.listdir(tmp_path) == ["value.json"]
    path.write_text("{")
    with pytest.raises(ArtifactError, match=r"value\.json is damaged: it is not JSON"):
        read_json(path)
    with pytest.raises(ArtifactError, match="is missing"):
        read_json(tmp_path / "none.json")


def test_arrays_come_back_as_they_were(tmp_path):
    arrays = {
        "empty": np.zeros((0, 4), np.float32),
        "scalar": np.array(3.5),
        "strided": np.arange(20).reshape(4, 5)[:, ::2],
        "half": np.arange(6, dtype=np.float16).reshape(2, 3),
    }
    save_arrays(tmp_path, **arrays)
    for mmap in (True, False):
        found = load_arrays(tmp_path, mmap=mmap)
        assert set(found) == set(arrays)
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)
    with pytest.raises(TypeError, match="`names` holds Python objects"):
        save_arrays(tmp_path, names=np.array(["a", None], object))
    (tmp_path / "half.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'")
    with pytest.raises(ArtifactError, match=r"half\.npy is damaged"):
        load_arrays(tmp_path)
