"""From `Engagement` to what the contrastive trainer reads. Needs torch."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from itemspace.encode.engagement import Engagement
from itemspace.train.contrastive import Supervision


def supervision_of(engagement: Engagement, items: int) -> Supervision:
    """The pairs as matrices [queries, items]; negatives that came with the data only from the pool."""
    shape = (len(engagement.queries), items)
    chosen = sp.csr_matrix((engagement.grade, (engagement.query, engagement.item)), shape=shape)
    ignore, negatives = None, engagement.negatives
    if engagement.ignore is not None:
        given = engagement.ignore
        ignore = sp.csr_matrix((np.ones(len(given.values), np.float32), (given.groups, given.values)), shape=shape)
    if negatives is not None and engagement.pool is not None:
        negatives = negatives.filter(engagement.pool[negatives.values])
    return Supervision(chosen, ignore, negatives)
