"""The page's files as they are served: from an allow-list, tagged, and under a policy that the files keep."""

import re

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from itemspace.serve.page import FILES, FOLDER, INDEX, POLICY, page_routes


@pytest.fixture(scope="module")
def client():
    return TestClient(Starlette(routes=page_routes()))


def test_every_file_is_served_and_no_other():
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted((INDEX, *FILES))


@pytest.mark.parametrize(
    "path", ["/static/page.py", "/static/../page.py", "/static/%2e%2e/page.py", "/static/", "/static/index.html/"]
)
def test_nothing_outside_the_list_is_reached(client, path):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("path", "media"),
    [
        ("/", "text/html"),
        ("/static/app.js", "text/javascript"),
        ("/static/base.css", "text/css"),
        ("/static/icon.svg", "image/svg+xml"),
    ],
)
def test_types_and_policy(client, path, media):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(media)
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_known_file_is_not_sent_again(client):
    first = client.get("/static/app.js")
    again = client.get("/static/app.js", headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/static/app.js", headers={"If-None-Match": '"other"'}).status_code == 200


def test_compressed_only_for_who_asks(client):
    packed = client.get("/static/app.js", headers={"Accept-Encoding": "gzip"})
    plain = client.get("/static/app.js", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content == (FOLDER / "app.js").read_bytes()
    assert packed.headers["etag"] != plain.headers["etag"]


def test_head_is_answered(client):
    answer = client.head("/")
    assert (answer.status_code, answer.content) == (200, b"")


def test_the_document_has_no_inline_script_or_style_and_only_relative_addresses():
    text = (FOLDER / INDEX).read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)", text) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", text) == []
    for address in re.findall(r'(?:src|href)="([^"]*)"', text):
        assert address.startswith(("static/", "#")), address


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".js")])
def test_no_script_makes_markup_or_code_of_text(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert (
        re.findall(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc|https?://(?!www\.w3\.org/2000/svg)",
            text,
        )
        == []
    )
