"""SIGKILL at random moments during build, add, update, remove and log; what is left is checked after every kill.

python benchmarks/kills.py --rounds 50
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from itemspace.space import Space
from itemspace.testing.space_kills import RECIPE, kill_builds, kill_changes, small_shop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--builds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "shop.space"
        Space.build(small_shop(), path=path, recipe=RECIPE).close()
        told = kill_changes(path, options.rounds, seed=options.seed)
        print(f"{told.rounds} kills during changes: {told.during}")
        print(f"  {told.acknowledged} changes acknowledged, all there; ", end="")
        print(f"{told.kept_unacknowledged} unacknowledged ones were there whole; {len(told.failures)} failures")
        built = kill_builds(folder, options.builds, seed=options.seed)
        print(f"{built.rounds} kills during builds: {built.during}; {len(built.failures)} failures")
        for failure in told.failures + built.failures:
            print("  " + failure)
        raise SystemExit(1 if told.failures or built.failures else 0)


if __name__ == "__main__":
    main()
