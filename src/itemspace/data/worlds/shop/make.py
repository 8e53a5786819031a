"""The demo shop put together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.errors import RequestError
from itemspace.core.ids import Ids
from itemspace.core.interactions import Impressions, Interactions
from itemspace.core.judgments import Queries
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.data.worlds.base import DAY, START, World, check_dial, numbered, scrambled
from itemspace.data.worlds.shop import search
from itemspace.data.worlds.shop.items import KINDS, SPAN, Items, draw_items, to_table
from itemspace.data.worlds.shop.users import Demand, draw_events, draw_users


@dataclass(frozen=True)
class ShopTruth:
    """What the shop was drawn from. Items and queries in the rows of the dataset.

    demand: how events come about; `probabilities(requests)` is exact, so `best_possible` applies to the shop's splits.
    grades: int8 [queries, items], the true grade of every pair, judged or not (before the dial scrambled any).
    propensities: [10], the chance that a position of an impression is examined; attraction: [4], the chance of a click
    on an examined item by grade. updates: the price and stock changes that follow the log (`item_id`, `time`, `price`,
    `stock`, `in_stock`), in time order.
    """

    demand: Demand
    wanted: search.Wanted
    grades: np.ndarray
    propensities: np.ndarray
    attraction: np.ndarray
    updates: pa.Table

    @property
    def items(self) -> Items:
        return self.demand.items

    def probabilities(self, requests: Requests) -> np.ndarray:
        return self.demand.probabilities(requests)


def shop_world(
    items: int = 2000,
    users: int = 3000,
    *,
    queries: int = 300,
    lists: int = 4000,
    updates: int = 3000,
    mean_length: float = 25.0,
    randomness: float = 0.0,
    rng: RNG = 0,
) -> World:
    """An outdoor and home shop over two years, with the truth it was drawn from.

    Mechanisms, each in its file: `items` (products of some sixty types in several colors; a feature may be named in the
    title, or only paraphrased in the description), `users` (tastes drift from one mix of activities to another;
    complements follow purchases; seasons; color, brand and price preferences), `search` (queries in plain words, grades
    from the attributes, lists clicked by a position-based model).

    randomness: the dial. At 1 every event is any item on sale, every query's grades belong to items at random, and
    clicks follow those grades: nothing of it can be learned from the items or the past.

    items: at least 50. queries: at most (repeated texts are dropped). lists: of ten impressions each, for the same
    queries that are judged. updates: price and stock changes in the month after the log. mean_length: events per user.
    About a second for the defaults on one core.

    The default size is that of a small shop with enough of a log to learn from, some 35 events per item. On the last tenth
    of its events nDCG@10 is about .17 for the truth, .07 to .08 for counting, item-kNN and EASE, .03 for popularity and
    .002 for chance. With a third of the events per item (3,000 items, 2,000 users, 20 events each) the truth reaches .16
    as well, but what goes with what is too thin a trace, and the same models stay near .05.

    Raises:
        RequestError: the dial is outside [0, 1], or the shop is too small.
    """
    randomness, seed = check_dial(randomness), as_seed(rng)
    if items < 50 or users < 1 or queries < 1:
        raise RequestError("a shop needs at least 50 items, a user and a query.")
    drawn = draw_items(items, derive(seed, "shop", "items"))
    table = to_table(drawn)
    catalog = Catalog.from_table(table, overrides=KINDS)
    order = pa.compute.index_in(catalog.ids.values, table.column("item_id").combine_chunks().cast(pa.large_string()))
    of_rows = drawn.take(np.asarray(order, np.int64))

    names = numbered("U", users)
    user_ids = Ids.permuted(names, kind="user")
    demand = Demand(of_rows, draw_users(users, derive(seed, "shop", "users")), randomness)
    events = draw_events(demand, mean_length, derive(seed, "shop", "events"))
    interactions = Interactions(
        events["user"].astype(np.int32),
        events["item"].astype(np.int32),
        user_ids,
        catalog.ids,
        events["time"],
        events["event"],
        events["events"],
    ).sorted()

    wanted = search.draw_queries(of_rows, queries, derive(seed, "shop", "queries"))
    true = search.grades(wanted, of_rows)
    graded = scrambled(true, randomness, derive(seed, "shop", "dial"))
    judgments = search.judge(graded, wanted, of_rows, derive(seed, "shop", "judgments"))
    shown = search.show(graded, of_rows, users, lists, derive(seed, "shop", "lists"))
    parameters = {"items": items, "users": users, "queries": queries, "lists": lists, "mean_length": mean_length}
    data = Dataset(
        catalog,
        interactions,
        _impressions(shown, catalog, wanted.text, user_ids),
        Queries(
            Ids(numbered("Q", len(wanted.text)), kind="query"),
            wanted.text,
            {"group": np.array(search.GROUPS)[wanted.group]},
        ),
        judgments,
        name="demo-shop",
        source={"world": "demo_shop", **parameters, "randomness": randomness, "seed": seed},
    )
    truth = ShopTruth(
        demand,
        wanted,
        true,
        search.propensities(),
        search.ATTRACTION,
        _updates(catalog, of_rows, updates, derive(seed, "shop", "updates")),
    )
    return World(data, truth, randomness, {**parameters, "updates": updates})


def demo_shop(items: int = 2000, users: int = 3000, *, rng: RNG = 0, **options: object) -> Dataset:
    """The demo shop's dataset: `shop_world(...)` (which says what the options mean) without its truth."""
    return shop_world(items, users, rng=rng, **options).data  # type: ignore[arg-type]


def _impressions(shown: search.Shown, catalog: Catalog, texts: tuple[str, ...], users: Ids) -> Impressions:
    lists, width = shown.item.shape
    return Impressions(
        request=np.repeat(np.arange(lists, dtype=np.int32), width),
        item=shown.item.ravel().astype(np.int32),
        position=np.tile(np.arange(width, dtype=np.int32), lists),
        outcome=shown.clicked.ravel().astype(np.float32),
        items=catalog.ids,
        query=np.repeat(shown.query.astype(np.int32), width),
        queries=texts,
        user=np.repeat(shown.user.astype(np.int32), width),
        users=users,
        time=np.repeat(shown.time, width),
    )


def _updates(catalog: Catalog, items: Items, n: int, rng: np.random.Generator) -> pa.Table:
    """Sales, restocks and sell-outs in the 30 days after the log; each row is the item's full new price and stock."""
    row = rng.integers(0, len(items), n)
    time = np.sort((START + (SPAN + rng.uniform(0, 30, n)) * DAY).astype(np.int64))
    factor = rng.choice([0.7, 0.8, 0.9, 1.0, 1.0, 1.1], n)
    price = np.maximum(np.round(items.price[row] * factor) - 0.01, 1.99).round(2)
    stock = np.where(rng.random(n) < 0.25, 0, rng.poisson(20, n))
    return pa.table(
        {
            "item_id": catalog.ids.values.take(pa.array(row)),
            "time": time,
            "price": price,
            "stock": stock,
            "in_stock": stock > 0,
        }
    )
