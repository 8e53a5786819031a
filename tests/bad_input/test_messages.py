"""Malformed input gets a message that names what is wrong, and leaves everything on disk as it was."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from itemspace.core.errors import DataError, ItemspaceError
from itemspace.core.requests import Requests
from itemspace.recipe import Recipe
from itemspace.space import Space
from tests.bad_input.cases import CASES
from tests.bad_input.messages import listing, refusal, told
from tests.bad_input.page import PAGE, build_shop, page

RUNS = settings(
    max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    path = tmp_path_factory.mktemp("bad-input") / "shop.space"
    build_shop(path)
    with Space.open(path) as opened:
        opened.update([{"item_id": opened.catalog.ids[0], "price": 20.0}])  # the writer's files are there from here on
        yield opened


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_message_names_what_is_wrong_and_nothing_changes(case, space, tmp_path):
    if case.prepare is not None:
        case.prepare(tmp_path, space)
    before, version, shop = listing(tmp_path), space.version, listing(space.path)
    error = refusal(case, tmp_path, space)
    message = str(error).replace(f"{tmp_path}/", "")
    for words in case.words:
        assert words in message
    assert "Traceback" not in message
    assert listing(tmp_path) == before
    assert (space.version, listing(space.path)) == (version, shop)
    if isinstance(error, DataError) and case.area == "changes":
        assert message.endswith("Nothing was written.")


def test_the_published_page_is_what_the_cases_say_now(space, tmp_path):
    assert PAGE.read_text(encoding="utf-8") == page(space, tmp_path), "run: python -m tests.bad_input.page"


def test_the_page_holds_no_path_of_this_machine(tmp_path):
    text = PAGE.read_text(encoding="utf-8")
    assert "/tmp" not in text
    assert str(tmp_path.home()) not in text


def test_there_are_at_least_sixty_cases_and_some_in_every_area():
    assert len({str(case) for case in CASES}) == len(CASES) >= 60
    areas = Counter(case.area for case in CASES)
    assert set(areas) == {
        "data files",
        "filters",
        "search and recommend",
        "changes",
        "recipes",
        "artifacts",
        "command line",
    }
    assert min(areas.values()) >= 15


def test_messages_are_stable_text(space, tmp_path):
    case = next(case for case in CASES if case.wrong == "a newer format")
    assert case.prepare is not None
    case.prepare(tmp_path, space)
    assert "This is itemspace VERSION" in told(case, refusal(case, tmp_path, space), tmp_path, space)


def accepted(ask):
    """What `ask` returns, or None where it was refused as it should be; any other exception fails the test."""
    try:
        return ask()
    except ItemspaceError:
        return None


SPELT = "price in_stock brand features released < >= = and or not in is null ( ) 'x' 3 -1e9 between contains starts with , true ` ' \" \\ 2024-05-31"
WORDS = st.sampled_from(SPELT.split())
FILTERS = st.one_of(st.text(max_size=30), st.lists(WORDS, max_size=9).map(" ".join))


@RUNS
@given(where=FILTERS)
def test_any_text_is_a_filter_or_refused_as_one(space, where):
    hits = accepted(lambda: space.search("boots", where=where, k=3))
    assert hits is None or set(hits.rows[0]) <= {-1, *range(len(space.catalog))}


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(["lsa", "bm25", "none"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.one_of(st.sampled_from(sorted(Recipe.model_fields)), st.text(max_size=6))


@RUNS
@given(values=st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_mapping_is_a_recipe_or_refused_as_one(values):
    recipe = accepted(lambda: Recipe.load(values))
    assert recipe is None or Recipe.load(recipe.to_toml_dict()) == recipe


@RUNS
@given(
    columns=st.dictionaries(st.sampled_from(["text", "history", "user", "as_of", "exclude", "vector", "image"]), VALUES)
)
def test_plain_values_are_no_columns_of_requests(columns):
    assert accepted(lambda: Requests(**columns)) is None


@RUNS
@given(texts=VALUES, histories=VALUES)
def test_any_batch_is_requests_of_its_length_or_refused(texts, histories):
    for make, given_ in ((Requests.texts, texts), (Requests.histories, histories)):
        requests = accepted(lambda make=make, given_=given_: make(given_))
        assert requests is None or len(requests) == len(given_)


@RUNS
@given(history=VALUES, user=VALUES)
def test_any_history_or_user_is_answered_or_refused(space, history, user):
    for asked in ({"history": history}, {"user": user}):
        hits = accepted(lambda asked=asked: space.recommend(**asked, k=3))
        assert hits is None or hits.rows.shape[1] == 3
