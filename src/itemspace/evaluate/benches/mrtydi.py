"""Mr. TyDi: words analyzed by language, dense vectors, and their hybrid by min-max with a weight tuned on dev alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from itemspace.core.contracts import Retriever
from itemspace.core.dataset import Dataset
from itemspace.core.errors import RequestError
from itemspace.core.operators import Encoded
from itemspace.core.report import Report
from itemspace.core.task import Task
from itemspace.data.read import locate
from itemspace.data.readers.mr_tydi import LANGUAGES, folder_of
from itemspace.data.splits.queries import query_task
from itemspace.encode.fields import TextFields
from itemspace.encode.lsa import LSAConfig, LSAEncoder
from itemspace.encode.sentence_transformer import SentenceTransformerEncoder
from itemspace.evaluate.benches import chosen
from itemspace.evaluate.benches.beir import answers
from itemspace.evaluate.benches.references import K1, B, one_field, word_columns
from itemspace.evaluate.compare import report_of
from itemspace.evaluate.evaluation import evaluate
from itemspace.evaluate.leaderboard import store_run
from itemspace.index.bm25 import BM25Index
from itemspace.index.flat import FlatIndex
from itemspace.index.lexical.analyze import AnalyzerConfig
from itemspace.search import FusionReport, tune_fusion

ARMS = ("bm25", "dense", "hybrid")
METRICS = ("mrr@100", "recall@100")
DEPTH = 1_000
_PAIRED = ("ja", "ko", "th")


@dataclass(frozen=True)
class Trio:
    """The three systems of one language over one catalogue; the hybrid once it is tuned."""

    words: Retriever
    dense: Retriever

    def hybrid(self, dev: Task, *, depth: int = DEPTH, rng: int = 0) -> tuple[Retriever, FusionReport]:
        """Min-max scores, weighted as is best for MRR@100 on `dev`, which is all it ever sees."""
        fused, report = tune_fusion(
            [self.words, self.dense], dev, metric="mrr@100", methods=("weighted",), depth=depth, guard=False, rng=rng
        )
        return fused, report


def analyzer(language: str) -> AnalyzerConfig:
    """How texts of a language are read."""
    return AnalyzerConfig(language=language)  # type: ignore[arg-type]


def words(data: Dataset, language: str, *, columns: Sequence[str] | None = None) -> Retriever:
    """BM25 in one field, with Anserini's parameters, over the language's words."""
    flat = one_field(data.catalog, word_columns(data.catalog, columns))
    index = BM25Index(k1=K1, b=B, analyzer=analyzer(language))
    return Encoded(TextFields(columns=("words",)), index).build(flat).bind(data.catalog)


def dense(
    data: Dataset,
    language: str,
    *,
    model: str | None = None,
    latent: LSAConfig | None = None,
    columns: Sequence[str] | None = None,
    rng: int = 0,
) -> Retriever:
    """Dense vectors that saw no question: a pretrained model, or latent semantic analysis of the passages.

    Without spaces there are no words to count: character n-grams alone are, where the language has none.
    """
    flat = one_field(data.catalog, word_columns(data.catalog, columns))
    if model is not None:
        pretrained = SentenceTransformerEncoder(model=model, columns=("words",))
        return Encoded(pretrained, FlatIndex()).build(flat).bind(data.catalog)
    settings = latent or (LSAConfig(words=0, characters=(1, 2, 3)) if language in _PAIRED else LSAConfig())
    return Encoded(LSAEncoder(settings).fit(flat, rng=rng), FlatIndex()).build(flat).bind(data.catalog)


def bench(
    data: str | Path,
    *,
    seeds: Sequence[int] = (0,),
    arms: Sequence[str] | None = None,
    lang: str | None = None,
    runs: Path | None = None,
    model: str | None = None,
    depth: int = DEPTH,
) -> Report:
    """The table of one language. data: the folder of the language, or the one that holds all of them (with `lang`).

    model: a multilingual sentence-transformers model for the dense arms. runs: where run files of the test questions are
    kept.

    Raises:
        RequestError: no language given where the folder's name says none. DataError: the files are not there.
    """
    if not isinstance(data, (str, Path)):
        raise RequestError("bench `mrtydi` reads its own files: give the folder.")
    root = locate(str(data))
    folder = folder_of(root, lang) if lang is not None else root
    test, dev = (Dataset.read(folder, reader="mr-tydi", split=split) for split in ("test", "dev"))
    language = str(lang or test.source.get("language") or "")
    language = LANGUAGES.get(language, language)
    if language not in LANGUAGES.values():
        raise RequestError(f"which language? Pass lang (--lang), one of {', '.join(LANGUAGES.values())}.")
    trio = Trio(words(test, language), dense(test, language, model=model, rng=seeds[0]))
    tuned, report = trio.hybrid(query_task(dev), depth=depth, rng=seeds[0])
    made = {"bm25": trio.words, "dense": trio.dense, "hybrid": tuned.bind(test.catalog)}
    names = chosen(ARMS, arms)
    task = query_task(test)
    for name in names if runs is not None else ():
        assert runs is not None
        kept = Path(runs) / test.name
        kept.mkdir(parents=True, exist_ok=True)
        store_run(kept / f"{name}.run", answers(made[name].search, test, depth), test, tag=name)
    found = {name: [evaluate(made[name], task, METRICS, k=depth, name=name)] for name in names}
    return report_of(
        found,
        task,
        baseline=names[0],
        slices=False,
        title=f"Mr. TyDi, {language}",
        provenance={
            "dataset": test.name,
            "passages": len(test.catalog),
            "language": language,
            "dense": model or "latent semantic analysis of the passages",
            "tuned on": f"{report.queries:,} dev questions, by {report.metric}",
            "weights": dict(zip(("bm25", "dense"), report.chosen[1], strict=True)),
        },
    )
