"""Search: queries to `Hits`, and what a result page needs besides: facets, sorting, paging, variants, rules, suggestions,

tuned fusion.
"""

from itemspace.search.autocomplete import Suggester, Suggestion
from itemspace.search.diversify import diversified
from itemspace.search.facets import FacetRequest, facet_counts
from itemspace.search.matching import Matching, matching
from itemspace.search.merchandising import Merchandised, under_rules
from itemspace.search.moves import Move, moved
from itemspace.search.page import PageRequest, answer, present
from itemspace.search.rulebook import Plan, RuleBook
from itemspace.search.rules import Rule, RuleError, Rules
from itemspace.search.tuning import FusionReport, tune_fusion

__all__ = [
    "FacetRequest",
    "FusionReport",
    "Matching",
    "Merchandised",
    "Move",
    "PageRequest",
    "Plan",
    "Rule",
    "RuleBook",
    "RuleError",
    "Rules",
    "Suggester",
    "Suggestion",
    "answer",
    "diversified",
    "facet_counts",
    "matching",
    "moved",
    "present",
    "tune_fusion",
    "under_rules",
]
