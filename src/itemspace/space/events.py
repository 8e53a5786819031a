"""The events of a store as packed arrays, read a piece at a time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from itemspace.core.ids import Ids
from itemspace.core.interactions import Interactions
from itemspace.data.stream_log import Distinct, EventArrays
from itemspace.store.contract import Store


def interactions_of(store: Store, items: Ids, *, seed: int) -> Interactions | None:
    """What `Interactions.from_columns` makes of the store's events whose items are known; None where there are none.

    Times, kinds of event and weights are kept where every event has them. Memory: about 40 bytes an event for a moment,
    a half of that afterwards, and the distinct users as text; the IDs of events are never in memory together.
    """
    users, count = Distinct(), 0
    whole = dict.fromkeys(("time", "event", "weight"), True)
    for table in store.scan_events():
        table = _known(table, items)
        users.add(table.column("user").combine_chunks())
        count += table.num_rows
        whole = {name: held and table.column(name).null_count == 0 for name, held in whole.items()}
    if count == 0:
        return None
    log = EventArrays(items, Ids.permuted(users.values(), seed=seed, kind="user"), count)
    for table in store.scan_events():
        table = _known(table, items)
        log.add(
            table.column("user").combine_chunks(),
            table.column("item").combine_chunks(),
            time=np.asarray(table.column("time"), np.int64) if whole["time"] else None,
            event=table.column("event").combine_chunks() if whole["event"] else None,
            weight=np.asarray(table.column("weight"), np.float32) if whole["weight"] else None,
        )
    return log.interactions()


def _known(table: pa.Table, items: Ids) -> pa.Table:
    return table.filter(pa.array(items.find(table.column("item")) >= 0))
