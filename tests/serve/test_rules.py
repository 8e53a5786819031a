"""Merchandising over the wire: rules apply to every answer, say so, can be left aside, and follow their file."""

import pytest

from itemspace.search.rules import RuleError, Rules
from itemspace.serve.app import Application
from itemspace.serve.config import ServeConfig
from itemspace.serve.ruling import RuleFile
from tests.serve.test_endpoints import SHOP, post

RULES = """
[[rules]]
name = "tents up"
action = "pin"
items = ["{item}"]
positions = [2]

[[rules]]
name = "sold out"
action = "exclude"
where = "not in_stock"

[[rules]]
name = "cheap first"
action = "boost"
where = "price < 60"
factor = 3.0
"""


@pytest.fixture(scope="module")
def pinned(library):
    return library.search("tent", k=1, where="in_stock").items()[0]


@pytest.fixture
def file(tmp_path, pinned):
    path = tmp_path / "rules.toml"
    path.write_text(RULES.replace("{item}", pinned))
    return path


@pytest.fixture
def ruled(serving, built, file):
    return serving({"spaces": {"shop": built}, "rules": {"shop": file}})


def ids(answer):
    return [hit["item"] for hit in answer["hits"]]


def test_answers_are_those_of_the_library_under_the_same_rules(ruled, library, file, pinned):
    rules = Rules.read(file)
    some = library.search("boots", k=2).items()
    told = post(ruled, f"{SHOP}/search", query="boots", k=8)
    assert ids(told) == library.search("boots", k=8, rules=rules).items()
    assert ids(told)[1] == pinned
    assert (
        ids(post(ruled, f"{SHOP}/recommend", history=some, k=8))
        == library.recommend(history=some, k=8, rules=rules).items()
    )
    for by in ("text", "behavior"):
        told = post(ruled, f"{SHOP}/similar", item=some[0], by=by, k=8)
        assert ids(told) == library.similar(some[0], by=by, k=8, rules=rules).items()
    batch = post(ruled, f"{SHOP}/search/batch", queries=["boots", "jacket"], k=8)["answers"]
    for query, answer in zip(["boots", "jacket"], batch, strict=True):
        assert ids(answer) == library.search(query, k=8, rules=rules).items()
    batch = post(ruled, f"{SHOP}/recommend/batch", users=[library.users[0], "nobody"], k=8)["answers"]
    assert ids(batch[0]) == library.recommend(user=library.users[0], k=8, rules=rules).items()
    assert [answer["fallback"] for answer in batch] == [None, "popularity"]


def test_answers_say_what_rules_did(ruled, pinned):
    told = post(ruled, f"{SHOP}/search", query="boots", k=8, explain=True)
    notes = "\n".join(told["notes"])
    assert 'rule "tents up": 1 of these pinned' in notes
    assert 'rule "sold out": what it names is left out' in notes
    assert any("tents up" in line for line in told["hits"][1]["because"]["rules"])
    assert all(hit["fields"]["in_stock"] for hit in told["hits"])
    told = post(ruled, f"{SHOP}/recommend", user="nobody", k=8, explain=True)
    assert told["fallback"] == "popularity"
    assert len(told["notes"]) >= 3


def test_rules_can_be_left_aside(ruled, library):
    some = library.search("boots", k=2).items()
    told = post(ruled, f"{SHOP}/search", query="boots", k=8, rules=False)
    assert (ids(told), told["notes"]) == (library.search("boots", k=8).items(), [])
    told = post(ruled, f"{SHOP}/recommend", history=some, k=8, rules=False)
    assert (ids(told), told["notes"]) == (library.recommend(history=some, k=8).items(), [])


def test_rules_that_do_not_fit_are_no_server(built, tmp_path):
    import asyncio

    path = tmp_path / "rules.toml"
    config = ServeConfig.parse({"spaces": {"shop": built}, "rules": {"shop": path}, "page": False})
    path.write_text('[[rules]]\nname = "x"\naction = "exclude"\nwhere = "colour = 1"\n')
    with pytest.raises(RuleError, match="colour"):
        asyncio.run(Application(config).start())
    path.write_text('[[rules]]\nname = "x"\naction = "banish"\n')
    with pytest.raises(RuleError, match="rule 1"):
        Application(config)


def test_a_changed_file_is_taken_over_when_it_fits(file, library):
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    clock = Clock()
    rules = RuleFile(file, clock)
    first = rules.current(library.catalog)
    assert len(first) == 3
    file.write_text('[[rules]]\nname = "x"\naction = "exclude"\nwhere = "colour = 1"\n')
    assert rules.current(library.catalog) is first  # looked at only every second
    clock.now = 2.0
    assert rules.current(library.catalog) is first  # does not fit
    file.write_text('[[rules]]\nname = "x"\naction = "exclude"\nwhere = "color = \'red\'"\n')
    clock.now = 4.0
    assert [rule.name for rule in rules.current(library.catalog).rules] == ["x"]
    file.unlink()
    clock.now = 6.0
    assert len(rules.current(library.catalog)) == 1  # a file that is gone for a moment changes nothing


@pytest.mark.parametrize("with_rules", [False, True])
def test_questions_asked_at_once_are_answered_together_as_if_alone(built, file, library, with_rules):
    """Many callers at once, other users and queries: each gets their own answer, in fewer runs than questions."""
    import asyncio

    import httpx

    from tests.serve.conftest import HOME, PATIENT

    rules = {"rules": {"shop": file}} if with_rules else {}
    app = Application(ServeConfig.parse({"spaces": {"shop": built}, "page": False, "limits": PATIENT, **rules}))
    queries = ["boots", "tent", "jacket", "red tent", "lamp", "chair"] * 3
    users = [*library.users.values[:8].to_pylist(), "nobody"] * 2
    runs = []

    async def crowd():
        transport = httpx.ASGITransport(app)
        async with app.running(), httpx.AsyncClient(transport=transport, base_url=HOME) as client:
            app.spaces.get("shop").together = runs.append
            asked = [client.post(f"{SHOP}/search", json={"query": query, "k": 5}) for query in queries]
            asked += [client.post(f"{SHOP}/recommend", json={"user": user, "k": 5}) for user in users]
            return [answer.json() for answer in await asyncio.gather(*asked)]

    answers = asyncio.run(crowd())
    held = Rules.read(file) if with_rules else None
    for query, answer in zip(queries, answers, strict=False):
        assert ids(answer) == library.search(query, k=5, rules=held).items()
    for user, answer in zip(users, answers[len(queries) :], strict=True):
        assert ids(answer) == library.recommend(user=user, k=5, rules=held).items()
        assert (answer["fallback"] is None) == (user != "nobody")
        assert any(user in note for note in answer["notes"]) == (user == "nobody")
    assert sum(runs) == len(answers)
    assert len(runs) < len(answers)
