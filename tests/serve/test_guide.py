"""Every command of the guide works: each curl line is sent, each `itemspace serve` line is understood, each rule and file read."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

from itemspace.cli.app import app
from itemspace.serve.config import ServeConfig

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "serving.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"^```console\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip()
]
FILES = re.findall(r"^```text\n# ([a-z-]+\.toml).*?\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def sent(line):
    """A curl line as method, address, headers and body."""
    words = shlex.split(line)[1:]
    method, headers, body, address = None, {}, None, None
    while words:
        word = words.pop(0)
        if word == "-X":
            method = words.pop(0)
        elif word == "-H":
            name, _, value = words.pop(0).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = words.pop(0)
        else:
            address = word
    return method or ("GET" if body is None else "POST"), address, headers, body


def test_curl_lines(serving, space_path, library):
    client = serving({"spaces": {"shop": space_path}}, systems=lambda: [])
    known = dict(zip(("P0001", "P0002"), library.search("boots", k=2).items(), strict=True)) | {"u17": library.users[0]}
    asked = set()
    for line in COMMANDS:
        if line.startswith("curl"):
            for name, real in known.items():
                line = line.replace(name, real)
            method, address, headers, body = sent(line)
            answer = client.request(method, address, headers=headers, content=body)
            assert answer.status_code == 200, (line, answer.text)
            asked.add((method, re.sub(r"\?.*|/items/(?!get|remove).*", "", address)))
    assert len(asked) >= 20


@pytest.mark.parametrize("line", [line for line in COMMANDS if not line.startswith("curl")])
def test_serve_lines(line):
    words = shlex.split(line)
    assert words[:2] == ["itemspace", "serve"]
    typer.main.get_command(app).commands["serve"].make_context("serve", words[2:])


def test_files(library):
    files = dict(FILES)
    ServeConfig.parse(tomllib.loads(files["serve.toml"]))
    from itemspace.search.rules import Rules

    rules = tomllib.loads(files["shop-rules.toml"])
    Rules.parse(rules["rules"]).check(library.catalog)
