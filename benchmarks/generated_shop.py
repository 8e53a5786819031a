"""A generated shop of any size as two Parquet files, written a chunk at a time.

Words follow Zipf's law within 200 topics (a title takes six to twelve words, three of four from its topic), brands and prices
are skewed, one item in five is out of stock. A user likes two topics and takes popular items of them, eight events on
average; four events per item in all.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TOPICS, WORDS, COMMON = 200, 400, 2_000
CHUNK = 100_000


def write(folder: Path, items: int, *, seed: int = 0) -> tuple[Path, Path]:
    """items.parquet and log.parquet of `items` items under `folder` (kept when there already)."""
    folder.mkdir(parents=True, exist_ok=True)
    catalog, log = folder / "items.parquet", folder / "log.parquet"
    if not catalog.exists():
        _stream(catalog, (_items(start, min(start + CHUNK, items), seed) for start in range(0, items, CHUNK)))
    if not log.exists():
        users = items // 2
        _stream(log, (_events(start, min(start + CHUNK, users), items, seed) for start in range(0, users, CHUNK)))
    return catalog, log


def queries(count: int, *, seed: int = 1) -> list[str]:
    """Texts of three words of one topic and one common word."""
    rng = np.random.default_rng(seed)
    topics = rng.integers(0, TOPICS, count)
    own = _zipf(rng, WORDS, (count, 3))
    common = _zipf(rng, COMMON, (count, 1))
    vocabulary = _vocabulary()
    at = np.concatenate([COMMON + topics[:, None] * WORDS + own, common], axis=1)
    return [" ".join(line) for line in vocabulary[at]]


def _items(start: int, stop: int, seed: int) -> pa.Table:
    rng = np.random.default_rng([seed, 0, start])
    n = stop - start
    topic = np.arange(start, stop) % TOPICS
    words = np.where(
        rng.random((n, 12)) < 0.75,
        COMMON + topic[:, None] * WORDS + _zipf(rng, WORDS, (n, 12)),
        _zipf(rng, COMMON, (n, 12)),
    )
    lengths = rng.integers(6, 13, n)
    kept = np.arange(12)[None, :] < lengths[:, None]
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    vocabulary = pa.array(_vocabulary())
    title = pa.compute.binary_join(pa.ListArray.from_arrays(offsets, vocabulary.take(pa.array(words[kept]))), " ")
    return pa.table(
        {
            "item_id": pa.array([f"P{i:09d}" for i in range(start, stop)]),
            "title": title,
            "category": pa.array([f"topic {t}" for t in range(TOPICS)]).take(pa.array(topic)),
            "brand": pa.array([f"brand {b}" for b in range(1_000)]).take(pa.array(_zipf(rng, 1_000, (n,)))),
            "price": pa.array(np.round(rng.lognormal(3.0, 1.0, n), 2)),
            "in_stock": pa.array(rng.random(n) < 0.8),
        }
    )


def _events(start: int, stop: int, items: int, seed: int) -> pa.Table:
    rng = np.random.default_rng([seed, 1, start])
    lengths = 3 + rng.geometric(1 / 6, stop - start) - 1
    user = np.repeat(np.arange(start, stop), lengths)
    liked = rng.integers(0, TOPICS, (stop - start, 2))
    topic = np.where(rng.random(len(user)) < 0.7, liked[user - start, 0], liked[user - start, 1])
    place = _zipf(rng, max(items // TOPICS, 1), (len(user),))
    return pa.table(
        {
            "user": pa.array([f"u{i}" for i in range(start, stop)]).take(pa.array(user - start)),
            "item": pa.array(np.char.add("P", np.char.zfill((place * TOPICS + topic).astype("U9"), 9))),
            "time": pa.array(1_700_000_000 + np.arange(len(user)) * 60 + start),
        }
    )


def _zipf(rng: np.random.Generator, count: int, shape: tuple[int, ...]) -> np.ndarray:
    """Ranks below `count` with chances proportional to 1 / (rank + 3)."""
    chances = 1.0 / (np.arange(count) + 3.0)
    total = np.cumsum(chances / chances.sum())
    return np.minimum(np.searchsorted(total, rng.random(shape)), count - 1)


def _vocabulary() -> np.ndarray:
    """Pronounceable words, the common ones first, then each topic's."""
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    count = COMMON + TOPICS * WORDS
    number = np.arange(count) * 7_919 % len(syllables) ** 3
    parts = np.array(syllables)
    base = len(syllables)
    return np.char.add(np.char.add(parts[number % base], parts[number // base % base]), parts[number // base**2])


def _stream(path: Path, tables: object) -> None:
    held = path.with_suffix(".tmp")
    writer: pq.ParquetWriter | None = None
    for table in tables:  # type: ignore[attr-defined]
        writer = writer or pq.ParquetWriter(held, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    held.replace(path)
