"""Metrics: array kernels (`kernels`), documented wrappers over them, and a registry of specification strings.

```python
ranking = Ranking.of(hits, judgments)
ndcg(ranking, 10).mean
parse("judged-ndcg@10")(ranking).mean
```
"""

from itemspace.metrics.lists import coverage, diversity, gini, novelty, popularity
from itemspace.metrics.ranked import (
    average_precision,
    bpref,
    hit,
    judged,
    mrr,
    ndcg,
    ndcg_exponential,
    precision,
    rank_biased_precision,
    recall,
)
from itemspace.metrics.registry import METRICS, Registered, Spec, deepest, metric, parse
from itemspace.metrics.values import Items, PerQuery, Ranking

__all__ = [
    "METRICS",
    "Items",
    "PerQuery",
    "Ranking",
    "Registered",
    "Spec",
    "average_precision",
    "bpref",
    "coverage",
    "deepest",
    "diversity",
    "gini",
    "hit",
    "judged",
    "metric",
    "mrr",
    "ndcg",
    "ndcg_exponential",
    "novelty",
    "parse",
    "popularity",
    "precision",
    "rank_biased_precision",
    "recall",
]
