"""Communities: groups of users like groups of items, and nothing else is known about either."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itemspace.core.dataset import Dataset
from itemspace.core.errors import RequestError
from itemspace.core.interactions import Interactions
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.data.worlds.base import DAY, START, World, catalog_of, check_dial, columns_of, numbered


@dataclass(frozen=True)
class CommunityTruth:
    """user_block [users], item_block [items]: who likes what. A user's next item is one of the own block with chance
    1 - randomness + randomness / blocks, uniformly within; any other otherwise (before seen items are excluded)."""

    user_block: np.ndarray
    item_block: np.ndarray
    randomness: float

    def probabilities(self, requests: Requests) -> np.ndarray:
        """[q, items] by the user's block; histories play no role beyond what the task excludes."""
        columns_of(requests, "user")
        assert requests.user is not None
        own = self.user_block[requests.user][:, None] == self.item_block
        return _preference(own, self.randomness)


def _preference(own: np.ndarray, randomness: float) -> np.ndarray:
    return own * (1 - randomness) / own.sum(1, keepdims=True) + randomness / own.shape[1]


def checkerboard(
    items: int = 400,
    users: int = 1000,
    *,
    blocks: int = 8,
    length: tuple[int, int] = (8, 20),
    randomness: float = 0.0,
    rng: RNG = 0,
) -> World:
    """`blocks` groups of users, each fond of its own group of items.

    Mechanism: every event is a new item for its user, of the own block with chance 1 - randomness, else any (drawn one
    after another without replacement). Blocks are equal in size (to one item), lengths uniform in `length`, all items of
    a block equally liked, the order within a history without meaning; one event a day. Items have IDs only.

    The best predictor knows each user's block and ranks its unseen items first in any order:
    `best_possible(world.truth, task, metric)` is what it expects, with histories excluded or not. Popularity is chance
    at every setting of the dial.

    Raises:
        RequestError: a history could use up its whole block (`length[1]` at least items // blocks).
    """
    randomness, seed = check_dial(randomness), as_seed(rng)
    if length[1] >= items // blocks:
        raise RequestError(f"histories of up to {length[1]} exhaust blocks of {items // blocks} items")
    shape, draws = derive(seed, "checkerboard", "blocks"), derive(seed, "checkerboard", "events")
    item_block = shape.permutation(np.arange(items) % blocks)
    user_block = shape.permutation(np.arange(users) % blocks)
    lengths = draws.integers(length[0], length[1] + 1, users)
    chosen = np.empty((users, length[1]), np.int64)
    for start in range(0, users, 2048):
        part = slice(start, min(start + 2048, users))
        like = _preference(user_block[part, None] == item_block, randomness)
        # Exponential races: the items in order of finishing are a draw without replacement by weight.
        with np.errstate(divide="ignore"):
            finish = draws.standard_exponential(like.shape) / like
        first = np.argpartition(finish, length[1], axis=1)[:, : length[1]]
        order = np.argsort(np.take_along_axis(finish, first, 1), axis=1)
        chosen[part] = np.take_along_axis(first, order, 1)

    names = np.array(numbered("i", items))
    catalog, row = catalog_of({"item_id": names}, {"item_id": "id"})
    inside = np.arange(length[1]) < lengths[:, None]
    user, day = np.nonzero(inside)
    user_names = np.array(numbered("u", users))
    events = Interactions.from_columns(
        user_names[user], names[chosen[inside]], items=catalog.ids, time=START + DAY * day.astype(np.int64)
    )
    block_of_row, block_of_user = np.empty_like(item_block), np.empty_like(user_block)
    block_of_row[row] = item_block
    block_of_user[events.users.find(user_names)] = user_block
    parameters = {"items": items, "users": users, "blocks": blocks, "length": length}
    source = {"world": "checkerboard", **parameters, "randomness": randomness, "seed": seed}
    data = Dataset(catalog, events, name="checkerboard", source=source)
    return World(data, CommunityTruth(block_of_user, block_of_row, randomness), randomness, parameters)
