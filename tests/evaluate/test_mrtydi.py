"""Mr. TyDi: the three systems of a language, and a weight that saw dev questions only."""

import pytest

from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError, RequestError
from itemspace.data.readers.mr_tydi import write_mr_tydi
from itemspace.data.splits.queries import query_task
from itemspace.data.worlds.scripts import in_script
from itemspace.data.worlds.topics import topics
from itemspace.evaluate.benches import mrtydi, run_bench


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("tydi")
    base = topics(150, 120, lists=10, rng=0).data
    for name, language in (("swahili", "sw"), ("thai", "th")):
        data = in_script(base, language)
        ids = [f"{row}#0" for row in range(len(data.catalog))]
        titles, texts = (data.catalog.texts([column]) for column in ("title", "description"))
        best = data.judgments.items.filter(data.judgments.grades >= 3)
        asked = [
            (str(q), text, [ids[row] for row in best[q]]) for q, text in enumerate(data.queries.texts) if len(best[q])
        ]
        splits = {"train": asked[:10], "dev": asked[10:60], "test": asked[60:]}
        write_mr_tydi(
            root / f"mrtydi-v1.1-{name}", dict(zip(ids, zip(titles, texts, strict=True), strict=True)), splits
        )
    return root


def test_the_bench_of_a_language(root, tmp_path):
    report = run_bench("mrtydi", str(root), lang="sw", runs=tmp_path)
    assert report.arms == ("bm25", "dense", "hybrid")
    assert report.provenance["language"] == "sw"
    assert report.provenance["passages"] == 150
    assert report.metrics[:2] == ("mrr@100", "recall@100")
    kept = sorted(path.name for path in (tmp_path / "mrtydi-v1.1-swahili").iterdir())
    assert kept == ["bm25.run", "dense.run", "hybrid.run"]
    thai = run_bench("mrtydi", str(root / "mrtydi-v1.1-thai"), arms=["bm25"])
    assert thai.provenance["language"] == "th"
    assert thai.value("mrr@100", "bm25") > 0.5, "pairs of characters find what spaces cannot"


def test_tuning_sees_dev_questions_and_no_other(root, monkeypatch):
    seen = []
    original = mrtydi.tune_fusion

    def watched(retrievers, task, **options):
        seen.append((set(task.requests.text), options["methods"], options["metric"], options["guard"]))
        return original(retrievers, task, **options)

    monkeypatch.setattr(mrtydi, "tune_fusion", watched)
    run_bench("mrtydi", str(root), lang="sw")
    ((texts, methods, metric, guard),) = seen
    dev, test = (
        set(query_task(Dataset.read(root / "mrtydi-v1.1-swahili", split=split)).requests.text)
        for split in ("dev", "test")
    )
    assert texts == dev
    assert not texts & test
    assert (methods, metric, guard) == (("weighted",), "mrr@100", False)


def test_a_language_that_is_not_there_is_named(root):
    with pytest.raises(DataError, match=r"no folder mrtydi-v1.1-finnish"):
        run_bench("mrtydi", str(root), lang="fi")
    with pytest.raises(DataError, match='"xx" is not a language'):
        run_bench("mrtydi", str(root), lang="xx")
    with pytest.raises(RequestError, match="give the folder"):
        run_bench("mrtydi", topics(20, 5, lists=10, rng=0).data)
