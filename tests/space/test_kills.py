"""A killed writer leaves the last good state. `benchmarks/kills.py` does the same at 50 moments."""

from itemspace.space import Space
from itemspace.testing.space_kills import RECIPE, kill_builds, kill_changes, small_shop


def test_changes_survive_sigkill(tmp_path):
    path = tmp_path / "shop.space"
    Space.build(small_shop(), path=path, recipe=RECIPE).close()
    told = kill_changes(path, 4, seed=1, longest=0.8)
    assert told.failures == []
    assert told.rounds == 4
    assert told.acknowledged > 0


def test_a_killed_build_never_shows_and_goes_on(tmp_path):
    told = kill_builds(tmp_path, 2, seed=2, longest=3.0)
    assert told.failures == []
    assert told.rounds == 2
