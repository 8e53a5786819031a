"""Every endpoint of the server."""

from __future__ import annotations

from itemspace.serve import about, answers, asking, items, models
from itemspace.serve.table import Endpoint

_SPACE = "/v1/spaces/{space}"

ASKING = (
    Endpoint("POST", f"{_SPACE}/search", asking.search, answers.SearchAnswer, "Search", "Asking", models.SearchRequest),
    Endpoint(
        "POST",
        f"{_SPACE}/search/batch",
        asking.search_batch,
        answers.SearchBatchAnswer,
        "Several searches",
        "Asking",
        models.SearchBatchRequest,
    ),
    Endpoint(
        "POST",
        f"{_SPACE}/recommend",
        asking.recommend,
        answers.RecommendAnswer,
        "Recommend to a history or a user",
        "Asking",
        models.RecommendRequest,
        errors=(409,),
    ),
    Endpoint(
        "POST",
        f"{_SPACE}/recommend/batch",
        asking.recommend_batch,
        answers.RecommendBatchAnswer,
        "Recommend to several",
        "Asking",
        models.RecommendBatchRequest,
        errors=(409,),
    ),
    Endpoint(
        "POST",
        f"{_SPACE}/similar",
        asking.similar,
        answers.SimilarAnswer,
        "Items like one item",
        "Asking",
        models.SimilarRequest,
        errors=(409,),
    ),
    Endpoint(
        "POST", f"{_SPACE}/facets", asking.facets, answers.FacetsAnswer, "Count values", "Asking", models.FacetsRequest
    ),
    *(
        Endpoint(
            method,
            f"{_SPACE}/autocomplete",
            asking.autocomplete,
            answers.AutocompleteAnswer,
            "Complete what is typed",
            "Asking",
            models.AutocompleteRequest,
        )
        for method in ("GET", "POST")
    ),
    Endpoint(
        "POST",
        f"{_SPACE}/explain",
        asking.explain,
        answers.ExplainAnswer,
        "Say why an item came",
        "Asking",
        models.ExplainRequest,
        errors=(409,),
    ),
)

ITEMS = (
    Endpoint("GET", f"{_SPACE}/items/{{id}}", items.get_item, answers.ItemAnswer, "One item", "Items", models.Empty),
    Endpoint(
        "POST",
        f"{_SPACE}/items/get",
        items.get_items,
        answers.ItemsAnswer,
        "Several items",
        "Items",
        models.ItemsRequest,
    ),
    Endpoint(
        "POST",
        f"{_SPACE}/items",
        items.add,
        answers.Changed,
        "Add or replace items",
        "Changing",
        models.AddRequest,
        scope="write",
        writes=True,
    ),
    Endpoint(
        "PATCH",
        f"{_SPACE}/items",
        items.update,
        answers.Changed,
        "Change columns of items",
        "Changing",
        models.UpdateRequest,
        scope="write",
        writes=True,
    ),
    Endpoint(
        "POST",
        f"{_SPACE}/items/remove",
        items.remove,
        answers.Changed,
        "Remove items",
        "Changing",
        models.RemoveRequest,
        scope="write",
        writes=True,
    ),
    Endpoint(
        "POST",
        f"{_SPACE}/events",
        items.log,
        answers.Changed,
        "Log events",
        "Changing",
        models.EventsRequest,
        scope="write",
        writes=True,
    ),
    Endpoint(
        "POST",
        f"{_SPACE}/reload",
        about.reload,
        answers.Reloaded,
        "Open the newest generation now",
        "Changing",
        scope="write",
        writes=True,
        errors=(409,),
    ),
)

ABOUT = (
    Endpoint("GET", "/v1/spaces", about.spaces, answers.SpacesAnswer, "Every Space", "Spaces", models.Empty),
    Endpoint("GET", _SPACE, about.space, answers.SpaceInfo, "One Space", "Spaces", models.Empty),
    Endpoint(
        "GET",
        f"{_SPACE}/map",
        about.map_,
        answers.MapAnswer,
        "The catalogue in two dimensions",
        "Spaces",
        models.MapRequest,
    ),
    Endpoint(
        "GET", f"{_SPACE}/report", about.report, answers.ReportsAnswer, "What was measured", "Spaces", models.Empty
    ),
    Endpoint("GET", "/v1/systems", about.systems, answers.SystemsAnswer, "The gallery", "Spaces", models.Empty),
    Endpoint(
        "GET",
        "/v1/systems/{slug}/source",
        about.source,
        answers.SourceAnswer,
        "A system's file",
        "Spaces",
        models.Empty,
    ),
    Endpoint("GET", "/health", about.health, answers.Health, "The process lives", "Server", scope=None, cheap=True),
    Endpoint(
        "GET",
        "/ready",
        about.ready,
        answers.Ready,
        "Every Space is open",
        "Server",
        scope=None,
        cheap=True,
        errors=(503,),
    ),
    Endpoint(
        "GET",
        "/metrics",
        about.prometheus,
        None,
        "Counters for Prometheus",
        "Server",
        cheap=True,
        media="text/plain",
    ),
    Endpoint("GET", "/openapi.json", about.openapi, None, "This document", "Server", scope=None, cheap=True),
    Endpoint(
        "GET", "/docs", about.docs, None, "This document, to read", "Server", scope=None, cheap=True, media="text/html"
    ),
)

ENDPOINTS = (*ASKING, *ITEMS, *ABOUT)
