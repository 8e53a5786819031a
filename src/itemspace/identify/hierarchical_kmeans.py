"""`HierarchicalKMeans`: a tree of clusters, the path to an item's leaf as its code; as long as the tree is deep there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field

from itemspace.core.codes import Codes
from itemspace.core.config import Config
from itemspace.core.contracts import ItemTokenizer
from itemspace.core.errors import ContractError
from itemspace.core.hashing import fingerprint
from itemspace.core.seeding import RNG, derive
from itemspace.core.vectors import Dense, Vectors, VectorSpace
from itemspace.identify.collisions import resolved


class HierarchicalKMeansConfig(Config):
    branches: int = Field(8, ge=2, le=65_535, description="children of a node")
    leaf: int = Field(8, ge=1, description="a cluster of at most so many items is not split further")
    max_levels: int = Field(6, ge=1, description="the deepest a code goes")
    iterations: int = Field(10, ge=1, description="k-means steps per node")
    codes_per_item: int = Field(1, ge=1, le=2, description="2 adds the path that starts in the second nearest branch")
    collisions: Literal["extra_token", "allow"] = Field(
        "extra_token", description="what happens to the items of a leaf"
    )


@dataclass(frozen=True)
class _Tree:
    """Node 0 is the root. centers: float32 [nodes, d]. first: int32 [nodes], the first child, -1 for a leaf.

    size: int32 [nodes], its children, which are numbered one after another. level: int32 [nodes], 0 for the root.
    """

    centers: np.ndarray
    first: np.ndarray
    size: np.ndarray
    level: np.ndarray


class HierarchicalKMeans(ItemTokenizer):
    """Codes of variable length: dense regions of the space get long codes, sparse ones short.

    Use it where shared prefixes must mean nearness. A leaf may hold several items: a last level tells them apart, or with
    `collisions="allow"` they share a code.
    Source: hierarchical clustering of document vectors, Tay et al. 2022 (DSI), section 3.2.
    """

    config: HierarchicalKMeansConfig
    _tree: _Tree | None = None
    _space: VectorSpace

    def fit(self, representations: Vectors, *, rng: RNG = 0) -> Self:
        """Grow the tree.

        Raises:
            ContractError: the vectors are not Dense, or there are none.
        """
        values, self._space = _dense(representations), representations.space  # type: ignore[union-attr]
        if len(values) == 0:
            raise ContractError("HierarchicalKMeans needs at least one vector to fit.")
        draw = derive(rng, "hierarchical k-means")
        centers, first, size, level = [values.mean(0)], [-1], [0], [0]
        waiting = [(0, np.arange(len(values)))]
        while waiting:  # nodes of the tree
            node, members = waiting.pop(0)
            if len(members) <= self.config.leaf or level[node] == self.config.max_levels:
                continue
            label, found = _kmeans(values[members], self.config.branches, self.config.iterations, draw)
            if len(found) < 2:
                continue
            first[node], size[node] = len(centers), len(found)
            for child, center in enumerate(found):
                waiting.append((len(centers), members[label == child]))
                centers.append(center)
                first.append(-1)
                size.append(0)
                level.append(level[node] + 1)
        as_int = [np.array(column, np.int32) for column in (first, size, level)]
        self._tree = _Tree(np.stack(centers).astype(np.float32), *as_int)
        return self

    def assign(self, representations: Vectors, *, taken: Codes | None = None) -> Codes:
        """The code of every vector, then (`codes_per_item` 2) every second code; a code has at least one level.

        taken: codes of other items, which no one gets (unless collisions are allowed).

        Raises:
            SpaceMismatchError: the vectors are of another space than those fitted.
        """
        tree = self._fitted()
        values = _dense(representations)
        self._space.check(representations.space, what="item")  # type: ignore[union-attr]
        paths = [self._descend(values, 0)]
        if self.config.codes_per_item == 2 and tree.size[0] > 1:
            paths.append(self._descend(values, 1))
        path = np.concatenate(paths)
        present = path >= 0
        present[:, 0] = True  # a tree that is only a root gives every item the code (0,)
        lengths = present.sum(1)
        sizes = [int(tree.size[tree.level == depth].max(initial=1)) for depth in range(path.shape[1])]
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        items = np.tile(np.arange(len(values), dtype=np.int32), len(paths))
        codes = Codes(np.maximum(path, 0)[present].astype(np.int32), offsets, items, tuple(sizes), self.version)
        return resolved(codes, self.config.collisions, taken=taken)

    @property
    def version(self) -> str:
        """Which fit made the codes."""
        tree = self._fitted()
        told = self.config.model_dump()
        if told["collisions"] == "allow":
            del told["collisions"]  # what was fitted before there was a choice keeps its version
        return fingerprint(self.path(), told, tree.centers, tree.first, self._space.to_json())

    def save(self, folder: Path) -> None:
        tree = self._fitted()
        for name in ("centers", "first", "size", "level"):
            np.save(folder / f"{name}.npy", getattr(tree, name))
        told = {"config": self.config.model_dump(), "space": self._space.to_json()}
        (folder / "tokenizer.json").write_text(json.dumps(told, indent=1))

    @classmethod
    def open(cls, folder: Path) -> Self:
        told = json.loads((folder / "tokenizer.json").read_text())
        # Before there was a choice, the items of a leaf shared a code.
        tokenizer = cls(cls.config_class().parse({"collisions": "allow", **told["config"]}))
        tokenizer._tree = _Tree(*(np.load(folder / f"{name}.npy") for name in ("centers", "first", "size", "level")))
        tokenizer._space = VectorSpace(**told["space"])
        return tokenizer

    def _descend(self, values: np.ndarray, choice: int) -> np.ndarray:
        """The branch taken at every level int32 [n, levels], -1 below the leaf; `choice` 1 takes the second best at the root."""
        tree = self._fitted()
        path = np.full((len(values), max(1, int(tree.level.max()))), -1, np.int32)
        at = np.zeros(len(values), np.int32)
        for depth in range(int(tree.level.max())):
            for node in np.unique(at[tree.first[at] >= 0]).tolist():
                if tree.level[node] != depth:
                    continue
                here = np.flatnonzero(at == node)
                children = tree.centers[tree.first[node] : tree.first[node] + tree.size[node]]
                order = np.argsort(_distances(values[here], children), axis=1, kind="stable")
                branch = order[:, choice if depth == 0 else 0]
                path[here, depth], at[here] = branch, tree.first[node] + branch
        return path

    def _fitted(self) -> _Tree:
        if self._tree is None:
            raise ContractError("this HierarchicalKMeans has no tree yet: call fit(vectors) first.")
        return self._tree


def _dense(vectors: Vectors) -> np.ndarray:
    if not isinstance(vectors, Dense):
        raise ContractError(f"HierarchicalKMeans clusters Dense vectors, not {type(vectors).__name__}.")
    return np.asarray(vectors.values, np.float32)


def _distances(values: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Squared distances [n, c], less each value's own length; one row does not depend on the others."""
    return (centers**2).sum(1) - 2 * np.einsum("nd,cd->nc", values, centers)


def _kmeans(values: np.ndarray, k: int, iterations: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Lloyd's algorithm from k-means++ seeds: labels [n] and centers [c, d], c <= k; no cluster is empty."""
    centers = values[rng.integers(0, len(values), 1)]
    nearest = ((values - centers[0]) ** 2).sum(1)
    while len(centers) < k and nearest.sum() > 1e-12:
        chosen = rng.choice(len(values), p=nearest / nearest.sum())
        centers = np.concatenate([centers, values[chosen : chosen + 1]])
        nearest = np.minimum(nearest, ((values - values[chosen]) ** 2).sum(1))
    label = _distances(values, centers).argmin(1)
    for _ in range(iterations):
        used, label = np.unique(label, return_inverse=True)
        sums = np.zeros((len(used), values.shape[1]))
        np.add.at(sums, label, values)
        centers = (sums / np.bincount(label)[:, None]).astype(np.float32)
        moved = _distances(values, centers).argmin(1)
        if np.array_equal(moved, label):
            break
        label = moved
    used, label = np.unique(label, return_inverse=True)
    return label, centers[used]
