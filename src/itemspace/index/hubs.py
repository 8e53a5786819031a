"""A graph with few links that is still quick to walk: hubs keep many links, the rest choose few.

In a graph of neighbors a small part of the nodes is linked to by very many, and walks go through them. Cutting every node
to a few links would take those ways away. Here the most linked nodes may keep `hub_links`, every other node chooses `links`
of its own, and all may be linked to from others up to `hub_links`, so that what is left leads through the hubs.
Source: LEANN (Wang et al. 2025), the high-degree preserving pruning of its graph.
"""

from __future__ import annotations

import numpy as np

from itemspace.index.links import Adjacency, Links
from itemspace.index.pruning import Points, link_back, pruned


def hubs_of(links: Links, share: float) -> np.ndarray:
    """The `share` of nodes that most others link to, sorted; by links to and from them, equal ones by number."""
    n = len(links)
    degrees = np.diff(links.offsets) + np.bincount(links.targets, minlength=n)
    count = min(n, int(np.ceil(share * n)))
    return np.sort(np.argsort(-degrees, kind="stable")[:count])


def pruned_to_hubs(
    links: Links, hubs: np.ndarray, points: Points, count: int, hub_links: int, alpha: float, block: int = 4096
) -> Adjacency:
    """The graph of `links` in which every node chooses `count` of its links, `hubs` [h] up to `hub_links` of theirs.

    What a node chose links back to it, as long as that one has room for twice its own choice (a hub: for `hub_links`);
    beyond that it chooses anew.
    """
    n, table = len(links), links.table()
    out = Adjacency(hub_links)
    out.reach(n)
    most = np.full(n, min(2 * count, hub_links))
    most[hubs] = hub_links
    own = np.full(n, count)
    own[hubs] = hub_links
    every = np.arange(n)
    for limit in np.unique(own).tolist():
        nodes = every[own == limit]
        for start in range(0, len(nodes), block):
            part = nodes[start : start + block]
            chosen = pruned(part, table[part].astype(np.int64), points, limit, alpha)
            out.table[part, : chosen.shape[1]] = chosen
    for start in range(0, n, block):
        link_back(out, every[start : start + block], points, alpha, limits=most)
    return out
