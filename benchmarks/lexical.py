"""BM25 beside bm25s and tantivy: cost to index, to ask in a batch and one by one, with filters, and after live updates.

    python benchmarks/lexical.py             # 48,000 product names and 200,000 generated documents
    python benchmarks/lexical.py --quick     # a small run of everything, nothing published

Every engine gets the same words: texts are analyzed once and joined by spaces; ours reads them with stemming and stop
words off, bm25s gets them split, tantivy its whitespace tokenizer. All use Lucene's BM25 with k1 = 1.2 and b = 0.75.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import Result, Timing, data_folder, interleaved, ratio, threads, versions

from itemspace.core.selection import Selection
from itemspace.core.vectors import Texts
from itemspace.index.bm25 import BM25Index
from itemspace.index.lexical.analyze import Analyzer, AnalyzerConfig

K1, B, K = 1.2, 0.75, 10
SHARES = (0.01, 0.1, 0.5)
NUMPY, NUMBA = "itemspace, NumPy", "itemspace, numba"
PEER, PEER_NUMPY, TANTIVY = "bm25s, numba", "bm25s, NumPy", "tantivy"
UPDATED = 0.05
WORD_COUNTS = (0.15, 0.3, 0.28, 0.15, 0.08, 0.04)
"""How many queries have one, two, ... six words: 2.8 on average."""
SKIPPED = 30
"""The most frequent words are left out of generated queries, as people leave out "the"."""


@dataclass(frozen=True)
class Collection:
    """Documents and queries of words joined by spaces, and a mask of documents per filter."""

    name: str
    documents: tuple[str, ...]
    queries: tuple[str, ...]
    masks: dict[float, np.ndarray]

    @property
    def split(self) -> list[list[str]]:
        return [text.split() for text in self.documents]


def product_names() -> tuple[str, ...]:
    """The product names of retrotech, every line of the file that has one."""
    with tarfile.open(data_folder() / "retrotech" / "products.tgz") as archive:
        file = archive.extractfile("products.csv")
        assert file is not None
        names = [line["name"] or "" for line in csv.DictReader(io.TextIOWrapper(file, "utf-8"))]
    analyzer = Analyzer(AnalyzerConfig(stemmer="none", stopwords="none"))
    return tuple(text for text in (" ".join(analyzer.words(name)) for name in names) if text)


def generated(count: int, rng: np.random.Generator, vocabulary: int = 100_000) -> tuple[str, ...]:
    """Documents of words whose frequencies fall as 1 / (rank + 2.7), lengths log-normal: median 16, mean 19, 3 to 200.

    A document draws a third of its words from its own 50 ("topic"), so that words come together as they do in texts.
    """
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    numbers = rng.permutation(len(syllables) ** 3)[:vocabulary]
    words = np.array(
        [syllables[n % 70] + syllables[n // 70 % 70] + (syllables[n // 4900] if n >= 4900 else "") for n in numbers]
    )
    chance = 1.0 / (np.arange(vocabulary) + 3.7)
    edges = np.cumsum(chance / chance.sum())
    lengths = np.clip(np.exp(rng.normal(np.log(16), 0.6, count)), 3, 200).astype(int)
    owner = np.repeat(np.arange(count), lengths)
    drawn = np.searchsorted(edges, rng.random(len(owner)))
    topic = rng.integers(0, 1_000, count)
    own = (topic[owner] * 7919 + rng.integers(0, 50, len(owner)) ** 2 * 31) % vocabulary
    drawn = np.minimum(np.where(rng.random(len(owner)) < 1 / 3, own, drawn), vocabulary - 1)
    ends = np.cumsum(lengths).tolist()
    flat = words[drawn].tolist()
    return tuple(" ".join(flat[end - length : end]) for end, length in zip(ends, lengths.tolist(), strict=True))


def asked(documents: Sequence[str], count: int, rng: np.random.Generator, skipped: frozenset[str]) -> tuple[str, ...]:
    """Queries of one to six words of one document each, in its order."""
    out = []
    for at in rng.integers(0, len(documents), count).tolist():
        words = [word for word in dict.fromkeys(documents[at].split()) if word not in skipped] or documents[at].split()
        wanted = min(int(rng.choice(6, p=WORD_COUNTS)) + 1, len(words))
        out.append(" ".join(words[i] for i in np.sort(rng.choice(len(words), wanted, replace=False))))
    return tuple(out)


def collection(name: str, documents: tuple[str, ...], queries: int, skipped: int) -> Collection:
    rng = np.random.default_rng(1)
    common = Counter(word for text in documents for word in text.split()).most_common(skipped)
    masks = {share: rng.random(len(documents)) < share for share in SHARES}
    return Collection(name, documents, asked(documents, queries, rng, frozenset(w for w, _ in common)), masks)


class Reference:
    """BM25 the obvious way, a dictionary of lists: the scores of every document for one query, float64 [n]."""

    def __init__(self, documents: Sequence[str]) -> None:
        self.counts: dict[str, list[tuple[int, int]]] = {}
        lengths = np.zeros(len(documents))
        for at, text in enumerate(documents):
            words = text.split()
            lengths[at] = len(words)
            for word, times in Counter(words).items():
                self.counts.setdefault(word, []).append((at, times))
        self.norm = K1 * (1 - B + B * lengths / lengths[lengths > 0].mean())
        self.total = int((lengths > 0).sum())

    def scores(self, query: str) -> np.ndarray:
        out = np.zeros(len(self.norm))
        for word, asked_times in Counter(query.split()).items():
            held = self.counts.get(word, [])
            if held:
                at, times = np.array(held).T
                idf = np.log(1 + (self.total - len(held) + 0.5) / (len(held) + 0.5))
                out[at] += asked_times * idf * times / (times + self.norm[at])
        return out


def agreement(reference: Reference, queries: Sequence[str], answers: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Share of the queries whose answers [q, 10] (-1 for none) are the reference's ten best, ties in any order.

    Equal is: the answers' reference scores are the ten best scores, to a millionth.
    """
    same = dict.fromkeys(answers, 0)
    for i, query in enumerate(queries):
        scores = reference.scores(query)
        best = np.sort(np.partition(scores, len(scores) - K)[-K:])[::-1]
        for name, rows in answers.items():
            mine = np.where(rows[i] >= 0, scores[rows[i]], 0.0)
            distinct = len(set(rows[i][rows[i] >= 0].tolist())) == int((rows[i] >= 0).sum())
            same[name] += distinct and bool(np.allclose(np.sort(mine)[::-1], best, rtol=1e-6, atol=1e-9))
    return {name: count / len(queries) for name, count in same.items()}


# Ours.


def ours(collection: Collection, engine: str) -> BM25Index:
    """Our index, from texts."""
    index = BM25Index(k1=K1, b=B, engine=engine, analyzer={"stemmer": "none", "stopwords": "none"})
    return index.build([Texts({"text": collection.documents})])


def query_texts(queries: Sequence[str]) -> Texts:
    return Texts({"query": tuple(queries)})


# Peers.


def bm25s_index(collection: Collection, backend: str) -> Any:
    """bm25s, from texts split at spaces."""
    import bm25s

    index = bm25s.BM25(k1=K1, b=B, method="lucene", backend=backend)
    index.index(collection.split, show_progress=False)
    return index


class Tantivy:
    """A tantivy index on disk with one writer thread; every filter is a word of its own field that must match."""

    def __init__(self, collection: Collection) -> None:
        import tantivy

        self.t = tantivy
        self.folder = tempfile.TemporaryDirectory()
        builder = tantivy.SchemaBuilder()
        builder.add_text_field("text", tokenizer_name="whitespace", index_option="freq")
        builder.add_text_field("filter", tokenizer_name="raw", index_option="basic")
        builder.add_unsigned_field("row", indexed=True, fast=True)
        self.schema = builder.build()
        self.index = tantivy.Index(self.schema, path=self.folder.name)
        self.writer = self.index.writer(heap_size=256_000_000, num_threads=1)
        for row, text in enumerate(collection.documents):
            self.write(row, text, [f"f{share}" for share, mask in collection.masks.items() if mask[row]])
        self.commit()

    def write(self, row: int, text: str, filters: Sequence[str] = ()) -> None:
        document = self.t.Document()
        document.add_text("text", text)
        document.add_unsigned("row", row)
        for name in filters:
            document.add_text("filter", name)
        self.writer.add_document(document)

    def commit(self) -> None:
        self.writer.commit()
        self.index.reload()
        self.searcher = self.index.searcher()

    def upsert(self, rows: Sequence[int], texts: Sequence[str]) -> None:
        for row, text in zip(rows, texts, strict=True):
            self.writer.delete_documents_by_term("row", row)
            self.write(row, text)
        self.commit()

    def query(self, text: str, share: float | None = None) -> Any:
        """The words of a text as a query object: what `parse_query` would make, without its parser."""
        should = self.t.Occur.Should
        counts = Counter(text.split())
        terms = [(word, self.t.Query.term_query(self.schema, "text", word, "freq")) for word in counts]
        parts = [(should, term if counts[w] == 1 else self.t.Query.boost_query(term, counts[w])) for w, term in terms]
        query = self.t.Query.boolean_query(parts)
        if share is None:
            return query
        held = self.t.Query.term_query(self.schema, "filter", f"f{share}", "basic")
        must = self.t.Occur.Must
        return self.t.Query.boolean_query([(must, query), (must, self.t.Query.const_score_query(held, 0.0))])

    def search(self, queries: Sequence[str], share: float | None = None) -> list[Any]:
        return [self.searcher.search(self.query(text, share), K, count=False).hits for text in queries]

    def rows(self, queries: Sequence[str]) -> np.ndarray:
        out = np.full((len(queries), K), -1)
        for i, hits in enumerate(self.search(queries)):
            found = self.searcher.fast_field_values("row", [address for _, address in hits])
            out[i, : len(found)] = found
        return out


def bm25s_rows(index: Any, words: list[list[str]], backend: str = "numba", **options: Any) -> np.ndarray:
    found, scores = index.retrieve(words, k=K, show_progress=False, n_threads=0, backend_selection=backend, **options)
    return np.where(scores > 0, found, -1)


# The measurements.


@dataclass
class Run:
    """One collection's measurement."""

    result: Result
    collection: Collection
    numba: bool
    few: int

    def measure(self) -> None:
        name = self.collection.name
        print(f"{name}: {len(self.collection.documents):,} documents", file=sys.stderr, flush=True)
        self._indexing(name)
        self.ours = {NUMPY: ours(self.collection, "numpy")}
        if self.numba:
            self.ours[NUMBA] = ours(self.collection, "numba")
        self.bm25s = bm25s_index(self.collection, "numba")
        self.bm25s_numpy = bm25s_index(self.collection, "numpy")
        self.tantivy = Tantivy(self.collection)
        self._asking(name)
        self._filtering(name)
        self._ranking(name)
        self._updating(name)
        del self.ours, self.bm25s, self.bm25s_numpy, self.tantivy

    def _indexing(self, name: str) -> None:
        arms: dict[str, Callable[[], object]] = {
            NUMPY: lambda: ours(self.collection, "numpy"),
            PEER: lambda: bm25s_index(self.collection, "numba"),
            TANTIVY: lambda: Tantivy(self.collection),
        }
        taken = interleaved(arms, note=f"{name} index")
        rows = [[arm, timing.cpu_seconds, timing.seconds] for arm, timing in taken.items()]
        self.result.table(f"{name}: to index", ["engine", "CPU seconds", "seconds"], rows)
        value = 1 / ratio(taken[TANTIVY], taken[NUMPY], cpu=True)
        self.result.at_most(f"{name}: CPU time to index, as a multiple of tantivy's", value, 2.0)

    def _asking(self, name: str) -> None:
        queries, few = self.collection.queries, self.collection.queries[: self.few]
        words = [text.split() for text in queries]
        batch, alone = query_texts(queries), [query_texts([text]) for text in queries]
        arms: dict[str, Callable[[], object]] = {arm: _batch(index, batch) for arm, index in self.ours.items()}
        arms[PEER] = lambda: bm25s_rows(self.bm25s, words)
        arms[PEER_NUMPY] = lambda: bm25s_rows(self.bm25s_numpy, words[: self.few], "numpy")
        arms[TANTIVY] = lambda: self.tantivy.search(queries)
        counts = dict.fromkeys(arms, len(queries)) | {PEER_NUMPY: len(few)}
        one = interleaved(arms, note=f"{name} batch")
        arms = {arm: _alone(index, alone) for arm, index in self.ours.items()}
        arms[PEER] = lambda: [bm25s_rows(self.bm25s, [line]) for line in words]
        arms[PEER_NUMPY] = lambda: [bm25s_rows(self.bm25s_numpy, [line], "numpy") for line in words[: self.few]]
        arms[TANTIVY] = lambda: [self.tantivy.search([text]) for text in queries]
        other = interleaved(arms, note=f"{name} one by one")
        rows = [[arm, _micro(one[arm], counts[arm]), _micro(other[arm], counts[arm])] for arm in one]
        told = f"{len(queries):,} queries (bm25s on NumPy: {len(few)}); bm25s is handed words, the others texts."
        columns = ["engine", "us CPU per query, batch", "us CPU per query, one by one"]
        self.result.table(f"{name}: the ten best of a query", columns, rows, told)
        for arm in self.ours:
            for how, taken in (("in a batch", one), ("one by one", other)):
                value = 1 / ratio(taken[PEER], taken[arm], cpu=True)
                self.result.at_most(f"{name}: {arm}, {how}, as a multiple of bm25s on numba", value, 3.0)

    def _filtering(self, name: str) -> None:
        queries = self.collection.queries
        words, batch = [text.split() for text in queries], query_texts(queries)
        alone = [query_texts([text]) for text in queries]
        rows = []
        for share, mask in self.collection.masks.items():
            within, weights = Selection.of_mask(mask), mask.astype(np.float32)
            arms: dict[str, Callable[[], object]] = {
                arm: _batch(index, batch, within) for arm, index in self.ours.items()
            }
            arms |= {f"{arm}, one by one": _alone(index, alone, within) for arm, index in self.ours.items()}
            arms[PEER] = _call(bm25s_rows, self.bm25s, words, weight_mask=weights)
            arms[TANTIVY] = _call(self.tantivy.search, queries, share)
            taken = interleaved(arms, rounds=3, note=f"{name} filter {share:.0%}")
            rows.append([f"{share:.0%}", *[_micro(timing, len(queries)) for timing in taken.values()]])
            names = list(taken)
            for arm in self.ours:
                value = 1 / ratio(taken[PEER], taken[arm], cpu=True)
                self.result.at_most(f"{name}: {arm}, {share:.0%} of the documents allowed, of bm25s", value, 3.0)
        told = f"us CPU per query, {len(queries):,} queries in a batch unless said; random filters; tantivy one by one."
        self.result.table(f"{name}: with a filter", ["allowed", *names], rows, told)

    def _ranking(self, name: str) -> None:
        queries = self.collection.queries
        answers = {arm: index.search(query_texts(queries), K).rows for arm, index in self.ours.items()}
        answers[PEER] = bm25s_rows(self.bm25s, [text.split() for text in queries])
        answers[TANTIVY] = self.tantivy.rows(queries)
        shares = agreement(Reference(self.collection.documents), queries, answers)
        told = "Share of the queries with the reference's ten best, ties aside. tantivy keeps lengths in one byte."
        self.result.table(f"{name}: same ranking", ["engine", "share"], list(map(list, shares.items())), told)
        for arm in self.ours:
            self.result.at_least(f"{name}: {arm}, queries with the reference's ten best", shares[arm], 1.0)

    def _updating(self, name: str) -> None:
        """5% of the documents get another's text: singly, then a thousand at a time."""
        documents = list(self.collection.documents)
        rng = np.random.default_rng(2)
        changed = rng.permutation(len(documents))[: int(UPDATED * len(documents))]
        texts = [documents[at] for at in rng.integers(0, len(documents), len(changed)).tolist()]
        single = min(1_000, len(changed) // 4)
        rows = []
        for arm, write in {**{a: _upserter(i) for a, i in self.ours.items()}, TANTIVY: self.tantivy.upsert}.items():
            # A commit of tantivy's per document is slow, so fewer are taken singly.
            ones = 20 if arm == TANTIVY else single
            parts = [*_parts(0, ones, 1), *_parts(ones, len(changed), 1_000)]
            costs = [_cpu(_call(write, changed[part].tolist(), texts[part])) for part in parts]
            costs, thousands = costs[:ones], costs[ones:]
            rows.append([arm, 1e6 * np.mean(costs), 1e3 * max(costs), 1e3 * float(np.median(thousands))])
        columns = ["engine", "us CPU per upsert of 1", "the slowest, ms", "ms CPU per upsert of 1,000"]
        told = (
            f"{len(changed):,} documents; each upsert is searchable when it returns. bm25s has none: it indexes again."
        )
        self.result.table(f"{name}: live updates", columns, rows, told)
        for at, text in zip(changed.tolist(), texts, strict=True):
            documents[at] = text
        self._after(name, tuple(documents))

    def _after(self, name: str, documents: tuple[str, ...]) -> None:
        queries = self.collection.queries
        new = Collection(name, documents, queries, self.collection.masks)
        rebuilt, peer = ours(new, "numpy"), bm25s_index(new, "numba")
        words, batch = [text.split() for text in queries], query_texts(queries)
        alone = [query_texts([text]) for text in queries]
        arms: dict[str, Callable[[], object]] = {arm: _batch(index, batch) for arm, index in self.ours.items()}
        arms |= {f"{arm}, one by one": _alone(index, alone) for arm, index in self.ours.items()}
        arms |= {PEER: lambda: bm25s_rows(peer, words), TANTIVY: lambda: self.tantivy.search(queries)}
        arms |= {f"{PEER}, one by one": lambda: [bm25s_rows(peer, [line]) for line in words]}
        taken = interleaved(arms, note=f"{name} after updates")
        table = [[arm, _micro(timing, len(queries))] for arm, timing in taken.items()]
        told = f"bm25s is indexed anew; ours has {max(i.segments for i in self.ours.values())} segments."
        self.result.table(f"{name}: asked after the updates", ["engine", "us CPU per query"], table, told)
        for arm, index in self.ours.items():
            for how in ("", ", one by one"):
                value = 1 / ratio(taken[PEER + how], taken[arm + how], cpu=True)
                self.result.at_most(f"{name}: {arm}{how}, after updates, of bm25s indexed anew", value, 3.0)
            one, other = index.search(batch, K), rebuilt.search(batch, K)
            same = (one.rows == other.rows).all(1) & (one.scores == other.scores).all(1)
            self.result.at_least(f"{name}: {arm}, answers after updates equal to a rebuilt index's", same.mean(), 1.0)


def _batch(index: BM25Index, queries: Texts, within: Selection | None = None) -> Callable[[], object]:
    return lambda: index.search(queries, K, within)


def _alone(index: BM25Index, queries: Sequence[Texts], within: Selection | None = None) -> Callable[[], object]:
    return lambda: [index.search(one, K, within) for one in queries]


def _call(function: Callable[..., object], *args: Any, **options: Any) -> Callable[[], object]:
    return lambda: function(*args, **options)


def _upserter(index: BM25Index) -> Callable[[Sequence[int], Sequence[str]], None]:
    return lambda rows, texts: index.upsert(Texts({"text": tuple(texts)}), np.array(rows))


def _parts(start: int, stop: int, size: int) -> Iterator[slice]:
    return (slice(at, min(at + size, stop)) for at in range(start, stop, size))


def _cpu(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def _micro(timing: Timing, queries: int) -> float:
    return 1e6 * timing.cpu_seconds / queries


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small collections, nothing published")
    parser.add_argument("--without-numba", action="store_true", help="leave our compiled loops out")
    options = parser.parse_args()
    queries, few, made = (200, 20, 5_000) if options.quick else (2_000, 50, 200_000)
    names = product_names()[: 3_000 if options.quick else None]
    result = Result(
        "lexical",
        "Lexical search",
        order=50,
        command="python benchmarks/lexical.py",
        about=f"BM25 (Lucene's, k1 {K1}, b {B}) over {len(names):,} product names (retrotech, all lines with a name) and "
        f"{made:,} generated documents (100,000 words, Zipf; median length 16). {queries:,} queries of 1 to 6 words of a "
        f"document (2.8 on average; generated queries leave out the {SKIPPED} most frequent words), the 10 best of each, "
        "asked in one batch and one by one; one thread; CPU time of the process, median of five interleaved rounds "
        "(three with filters).",
        peers=versions("bm25s", "numba", "tantivy", "numpy", "scipy"),
    )
    with threads(1):
        for one in (
            collection("product names", names, queries, 0),
            collection("generated", generated(made, np.random.default_rng(0)), queries, SKIPPED),
        ):
            Run(result, one, not options.without_numba, few).measure()
    result.publish(*([Path(tempfile.mkdtemp())] if options.quick else []))


if __name__ == "__main__":
    main()
