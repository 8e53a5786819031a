"""Evaluation: full ranking of a task, intervals, paired tests, slices, reports.

```python
compare({"popularity": popularity, "ease": ease}, split.test, baseline="popularity").save("results")
```
"""

from itemspace.evaluate.compare import compare, report_of
from itemspace.evaluate.evaluation import Evaluation, evaluate, evaluate_hits, evaluate_scores, item_facts
from itemspace.evaluate.filtered import evaluate_filtered
from itemspace.evaluate.significance import bootstrap_means, holm, paired_test, percentile_interval, permutation_p
from itemspace.evaluate.slices import Slice, popularity_band, slices_of
from itemspace.metrics.values import Items

__all__ = [
    "Evaluation",
    "Items",
    "Slice",
    "bootstrap_means",
    "compare",
    "evaluate",
    "evaluate_filtered",
    "evaluate_hits",
    "evaluate_scores",
    "holm",
    "item_facts",
    "paired_test",
    "percentile_interval",
    "permutation_p",
    "popularity_band",
    "report_of",
    "slices_of",
]
