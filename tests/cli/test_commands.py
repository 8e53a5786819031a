"""The command line: every verb on a small shop, what it prints, and how it fails."""

import json
import shlex
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itemspace.cli.app import app
from itemspace.core.errors import ItemspaceError
from itemspace.data.worlds.shop import shop_world, write_shop
from itemspace.systems.registry import built


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    write_shop(folder / "shop", shop_world(300, 200, rng=2), images=False)
    files = folder / "shop"
    run(
        "build", files / "items.parquet", "--interactions", files / "interactions.parquet",
        "--queries", files / "queries.parquet", "--judgments", files / "judgments.parquet",
        "-o", folder / "shop.space", "--set", "encoder.dimension=32",
    )  # fmt: skip
    return folder


def run(*words):
    app([str(word) for word in words], standalone_mode=False)


def asked(capsys, *words):
    run(*words, "--json")
    return json.loads(capsys.readouterr().out)


def test_search_filters_and_counts(shop, capsys):
    told = asked(capsys, "search", shop / "shop.space", "boots", "--where", "price < 90", "--facet", "color", "-k", 5)
    assert 0 < len(told["hits"]) <= 5
    assert all(hit["price"] < 90 for hit in told["hits"])
    assert sum(told["facets"]["color"].values()) <= told["total"]
    assert {"rank", "item", "score", "title"} <= set(told["hits"][0])


def test_recommend_one_and_many(shop, capsys, tmp_path):
    path = shop / "shop.space"
    users = pq.read_table(shop / "shop" / "interactions.parquet").column(0).to_pylist()[:3]
    one = asked(capsys, "recommend", path, "--user", users[0], "-k", 4)
    assert len(one["hits"]) == 4
    (tmp_path / "users.txt").write_text("\n".join(users))
    many = asked(capsys, "recommend", path, "--users", tmp_path / "users.txt", "-k", 4)
    assert [entry["user"] for entry in many] == users
    assert [hit["item"] for hit in many[0]["hits"]] == [hit["item"] for hit in one["hits"]]
    history = one["hits"][0]["item"] + "," + one["hits"][1]["item"]
    told = asked(capsys, "recommend", path, "--history", history, "-k", 3, "--explain")
    assert "because" in told["explanation"]


def test_similar_and_explain(shop, capsys):
    path = shop / "shop.space"
    item = asked(capsys, "search", path, "jacket", "-k", 1)["hits"][0]["item"]
    assert item not in [hit["item"] for hit in asked(capsys, "similar", path, item)["hits"]]
    assert asked(capsys, "explain", path, item, "--query", "jacket")["lexical"]["rank"] >= 1


def test_suggest_and_map(shop, capsys):
    path = shop / "shop.space"
    told = asked(capsys, "suggest", path, "boo", "-k", 5)
    assert len(told) == 5
    assert all({"text", "kind", "item"} == set(one) and "boo" in one["text"].lower() for one in told)
    run("suggest", path, "boo", "-k", 3)
    assert capsys.readouterr().out.count("\n") == 3
    told = asked(capsys, "map", path, "--limit", 20, "--color", "category")
    assert len(told["points"]) == 20
    run("map", path, "--limit", 20)
    assert "20 items" in capsys.readouterr().out


def test_rules_from_a_file(shop, capsys, tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rules]]\nname = "dear"\naction = "exclude"\nwhere = "price < 50"\n')
    path = shop / "shop.space"
    item = asked(capsys, "search", path, "boots")["hits"][0]["item"]
    for words in (("search", path, "boots"), ("recommend", path, "--history", item), ("similar", path, item)):
        told = asked(capsys, *words, "--rules", rules)
        assert told["hits"]
        assert all(hit["price"] >= 50 for hit in told["hits"])
    run("search", path, "boots", "--rules", rules, "--explain")
    assert "excluded before the cut" in capsys.readouterr().out


def test_changes_from_files(shop, capsys, tmp_path):
    path = shop / "shop.space"
    item = asked(capsys, "search", path, "tent", "-k", 1)["hits"][0]["item"]
    pq.write_table(pa.table({"item_id": [item], "price": [0.5]}), tmp_path / "prices.parquet")
    run("update", path, tmp_path / "prices.parquet")
    (tmp_path / "events.csv").write_text(f"user,item\nnewcomer,{item}\n")
    run("log", path, tmp_path / "events.csv")
    (tmp_path / "new.jsonl").write_text('{"item_id": "CLI-1", "title": "Quokka umbrella", "price": 3}\n')
    run("add", path, tmp_path / "new.jsonl")
    assert "1 items" in capsys.readouterr().out
    assert asked(capsys, "search", path, "quokka", "-k", 1, "--by", "lexical")["hits"][0]["item"] == "CLI-1"
    run("remove", path, "CLI-1")
    capsys.readouterr()
    assert asked(capsys, "search", path, "quokka", "--by", "lexical")["hits"] == []
    assert item in [hit["item"] for hit in asked(capsys, "search", path, "tent", "--where", "price < 1")["hits"]]


def test_evaluate_writes_pages(shop, capsys, tmp_path):
    run("evaluate", shop / "shop.space", "--html", tmp_path / "report.html")
    assert "ndcg@10" in capsys.readouterr().out
    assert "<svg" in (tmp_path / "report-search.html").read_text()


def test_the_demo_says_commands_that_run_and_fits_a_terminal(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    run("demo", "--folder", tmp_path, "--items", 300, "--users", 200)
    lines = capsys.readouterr().out.splitlines()
    commands = [shlex.split(line)[2:] for line in lines if line.startswith("$ itemspace ")]
    assert [words[0] for words in commands] == ["build", "search", "recommend", "evaluate"]
    (header,) = {line for line in lines if line.startswith("#  item")}
    assert len(header) <= 80
    assert header.split()[-1] == "score"
    run(*commands[1])
    assert capsys.readouterr().out.splitlines()[1] == header
    values = {line.split("  ")[1].strip(): line for line in lines if "█" in line}
    assert {"popularity", "item-knn", "the shop's own truth"} <= set(values)
    pages = {"report-search.html", "report-recommendation.html", "report-filtered-search.html"}
    assert {path.name for path in tmp_path.glob("*.html")} == pages


def test_describe(shop, capsys):
    told = asked(capsys, "data", "describe", shop / "shop" / "items.parquet")
    assert "300" in json.dumps(told)


def test_systems_lists_all_and_names_the_nearest(capsys):
    rows = asked(capsys, "systems")
    assert len(rows) == 156
    assert {row["slug"] for row in rows if row["state"] != "not built"} == set(built())
    with pytest.raises(ItemspaceError, match="tiger"):
        run("systems", "run", "tigr")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", "{space}", "x", "--where", "prise < 3"], "price"),
        (["search", "nowhere.space", "x"], "nowhere.space"),
        (["recommend", "{space}"], "history"),
        (["recommend", "{space}", "--history", "NOPE"], "NOPE"),
        (["build", "nothing.parquet", "-o", "x.space"], "nothing.parquet"),
        (["build", "{items}", "-o", "{space}"], "replace"),
        (["build", "{items}", "-o", "x.space", "--set", "encodr.name=lsa"], "encoder"),
        (["build", "{items}", "-o", "x.space", "--kind", "price"], "COLUMN=KIND"),
        (["bench", "cooking", "--data", "x"], "recommend"),
    ],
)
def test_problems_are_one_message(shop, words, message):
    names = {"space": str(shop / "shop.space"), "items": str(shop / "shop" / "items.parquet")}
    with pytest.raises(ItemspaceError, match=message):
        run(*[word.format(**names) for word in words])


def test_a_problem_exits_with_two_and_no_traceback(tmp_path):
    command = [sys.executable, "-m", "itemspace.cli", "search", str(tmp_path / "no.space"), "x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("itemspace: ")
    assert "Traceback" not in done.stderr


def test_importing_loads_nothing_heavy():
    code = (
        "import sys, itemspace; print(sorted(m for m in ('torch', 'lancedb', 'pyarrow', 'scipy') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_needs_no_heavy_import():
    code = (
        "import sys; sys.argv = ['itemspace', '--help']\n"
        "from itemspace.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted(m for m in ('torch', 'lancedb', 'pyarrow', 'numpy') if m in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip().endswith("[]")
    assert "recommend" in done.stdout


def test_analyze_reports_compares_and_finds_the_limit(shop, capsys, tmp_path):
    path = shop / "shop.space"
    page = tmp_path / "out" / "report.html"
    run("analyze", "space", path, "--questions", 40, "--html", page)
    assert "effective rank" in capsys.readouterr().out
    assert page.read_text().count("<svg") > 5
    told = asked(capsys, "analyze", "drift", path, path)
    assert told["kept"] == 1.0
    assert told["moved"] == pytest.approx(0, abs=1e-5)
    pytest.importorskip("torch")
    assert asked(capsys, "analyze", "limit", "-d", "2", "--most", 8) == {"k": 2, "critical": {"2": 3}}
    with pytest.raises(ItemspaceError, match="several by commas"):
        run("analyze", "limit", "-d", "two")
