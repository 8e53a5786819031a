"""Finding parts by short name, import path or entry point; nothing is imported before it is asked for.

A third-party package declares, in its `pyproject.toml`:

```toml
[project.entry-points."itemspace.encoders"]
my-encoder = "my_package.encoder:MyEncoder"
```
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import Any

from itemspace.core.config import load_object
from itemspace.core.errors import RecipeError, nearest

BUILTIN: dict[str, dict[str, str]] = {
    "encoders": {
        "lsa": "itemspace.encode.lsa:LSAEncoder",
        "two-tower": "itemspace.encode.two_tower:TwoTowerEncoder",
        "transformer": "itemspace.encode.transformer:TransformerEncoder",
        "sentence-transformer": "itemspace.encode.sentence_transformer:SentenceTransformerEncoder",
        "text-fields": "itemspace.encode.fields:TextFields",
        "tokens": "itemspace.encode.tokens:TokenEncoder",
        "late-interaction": "itemspace.encode.late_interaction:LateInteractionEncoder",
        "gaussian": "itemspace.encode.gaussian:GaussianEncoder",
        "impacts": "itemspace.encode.impacts:ImpactEncoder",
        "picture-text": "itemspace.encode.picture_text:PictureTextEncoder",
    },
    "adapters": {
        "pca": "itemspace.adapt.pca:PCA",
        "truncation": "itemspace.adapt.truncation:Truncation",
        "random-projection": "itemspace.adapt.random_projection:RandomProjection",
        "mpad": "itemspace.adapt.mpad:MPAD",
    },
    "indexes": {
        "adapted": "itemspace.index.adapted:AdaptedIndex",
        "flat": "itemspace.index.flat:FlatIndex",
        "hnsw": "itemspace.index.hnsw:HNSWIndex",
        "ivf": "itemspace.index.ivf:IVFIndex",
        "pq": "itemspace.index.quantizers:PQIndex",
        "opq": "itemspace.index.quantizers:OPQIndex",
        "aq": "itemspace.index.quantizers:AQIndex",
        "rabitq": "itemspace.index.quantizers:RaBitQIndex",
        "binary": "itemspace.index.binary:BinaryIndex",
        "bm25": "itemspace.index.bm25:BM25Index",
        "maxsim": "itemspace.index.multi_vector:MaxSimIndex",
        "muvera": "itemspace.index.muvera:MuveraIndex",
        "gaussian": "itemspace.index.gaussian:GaussianIndex",
        "sparse": "itemspace.index.sparse:SparseIndex",
        "acorn": "itemspace.index.acorn:AcornIndex",
        "vamana": "itemspace.index.vamana:VamanaIndex",
        "recompute": "itemspace.index.recompute:RecomputeIndex",
        "lsh": "itemspace.index.lsh:LSHIndex",
        "rp-trees": "itemspace.index.rp_trees:RPTreesIndex",
        "sketch": "itemspace.index.sketch_index:SketchIndex",
    },
    "recommenders": {
        "popularity": "itemspace.recommend.popularity:Popularity",
        "counting": "itemspace.recommend.counting:Counting",
        "item-knn": "itemspace.recommend.item_knn:ItemKNN",
        "ease": "itemspace.recommend.ease:EASE",
        "bpr-mf": "itemspace.recommend.bpr_mf:BPRMF",
        "sasrec": "itemspace.recommend.sasrec:SASRec",
    },
    "scorers": {
        "factorization-machine": "itemspace.rank.factorization_machine:FactorizationMachine",
        "lambdamart": "itemspace.rank.lambdamart:LambdaMART",
        "neural-scorer": "itemspace.rank.neural_scorer:NeuralScorer",
    },
    "linkers": {"mentions": "itemspace.link.mentions:MentionLinker"},
    "tokenizers": {
        "residual-k-means": "itemspace.identify.residual_kmeans:ResidualKMeans",
        "rq-vae": "itemspace.identify.rq_vae:RQVAE",
        "fsq": "itemspace.identify.fsq:FSQ",
        "product": "itemspace.identify.product:ProductCodes",
        "hierarchical-k-means": "itemspace.identify.hierarchical_kmeans:HierarchicalKMeans",
        "spectral": "itemspace.identify.spectral:SpectralCodes",
        "sequential": "itemspace.identify.digits:SequentialCodes",
        "random": "itemspace.identify.digits:RandomCodes",
        "title": "itemspace.identify.titles:TitleCodes",
        "category": "itemspace.identify.categories:CategoryCodes",
    },
    "readers": {
        "chorus": "itemspace.data.readers.chorus:ChorusReader",
        "retrotech": "itemspace.data.readers.retrotech:RetroTechReader",
        "esci": "itemspace.data.readers.esci:EsciReader",
        "wands": "itemspace.data.readers.wands:WandsReader",
        "beir": "itemspace.data.readers.beir:BeirReader",
        "quora-pairs": "itemspace.data.readers.quora_pairs:QuoraPairsReader",
        "askubuntu": "itemspace.data.readers.askubuntu:AskUbuntuReader",
        "stsb": "itemspace.data.readers.stsb:StsbReader",
        "metatool": "itemspace.data.readers.metatool:MetaToolReader",
        "msmarco": "itemspace.data.readers.msmarco:MsMarcoReader",
        "mr-tydi": "itemspace.data.readers.mr_tydi:MrTydiReader",
        "smart": "itemspace.data.readers.smart:SmartReader",
        "movielens": "itemspace.data.readers.movielens:MovieLensReader",
        "recbole": "itemspace.data.readers.recbole:RecboleReader",
        "movielens-coldstart": "itemspace.data.readers.movielens_coldstart:ColdStartReader",
        "minionerec": "itemspace.data.readers.minionerec:MiniOneRecReader",
        "amazon-json": "itemspace.data.readers.amazon_json:AmazonJsonReader",
        "amazon-timestamps": "itemspace.data.readers.amazon_timestamps:AmazonTimestampsReader",
        "amazon-2014": "itemspace.data.readers.amazon_2014:Amazon2014Reader",
        "amazon-2023": "itemspace.data.readers.amazon_2023:Amazon2023Reader",
        "trec": "itemspace.data.readers.trec:TrecReader",
        "lists": "itemspace.data.readers.movielens_lists:ListsReader",
        "s3rec": "itemspace.data.readers.s3rec:S3RecReader",
        "tables": "itemspace.data.readers.tables:TablesReader",
    },
    "stores": {
        "lancedb": "itemspace.store.lance:LanceStore",
        "postgres": "itemspace.store.postgres:PostgresStore",
        "milvus": "itemspace.store.milvus:MilvusStore",
    },
}
"""Short names of our own parts by group; an entry point in group `itemspace.<group>` adds to them."""


@cache
def available(group: str) -> dict[str, str]:
    """Short name -> import path for every part in `group`, ours and installed plug-ins'."""
    found = dict(BUILTIN.get(group, {}))
    for point in entry_points(group=f"itemspace.{group}"):
        found.setdefault(point.name, point.value)
    return found


def find(group: str, name: str) -> Any:
    """The class registered as `name` in `group`, or the object at the import path `name`.

    Raises:
        RecipeError: no such part; the message names the nearest one and lists all.
    """
    parts = available(group)
    if name in parts:
        return load_object(parts[name])
    if ":" in name:
        return load_object(name)
    raise RecipeError(
        f"no {group[:-1]} named `{name}`.{nearest(name, parts)} Known: {', '.join(sorted(parts)) or 'none'}; "
        'an import path "package.module:Name" works too.'
    )
