"""Search: queries to `Hits`, and what a result page needs besides: facets, sorting, paging, variants, tuned fusion."""

from itemspace.search.diversify import diversified
from itemspace.search.facets import FacetRequest, facet_counts
from itemspace.search.matching import Matching, matching
from itemspace.search.page import PageRequest, answer, present
from itemspace.search.tuning import FusionReport, tune_fusion

__all__ = [
    "FacetRequest",
    "FusionReport",
    "Matching",
    "PageRequest",
    "answer",
    "diversified",
    "facet_counts",
    "matching",
    "present",
    "tune_fusion",
]
