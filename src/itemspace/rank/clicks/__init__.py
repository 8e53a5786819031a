"""Click models: what a log of shown and clicked lists says once it is known that people look at the top.

```python
model = PositionBased().fit(train)
model.examination                        # how much each rank is looked at
model.attraction(query, item)            # how good a result is, whatever rank it stood at
model.measure(test).perplexity           # how well it explains other lists
harvest_examination(train).values        # the same bias from interventions alone
```

Which one: `ClickThroughRate` is the floor. `PositionBased` where lists vary and few are clicked twice (start here).
`SimplifiedDBN` for one quick, robust pass; `DynamicBayesianNetwork` where users read downwards and click several;
`UserBrowsing` where examination depends on the click above; `Cascade` for one click a list.
"""

from itemspace.rank.clicks.base import ClickFit, ClickModel
from itemspace.rank.clicks.cascade import Cascade, SimplifiedDBN
from itemspace.rank.clicks.dynamic_bayesian import DynamicBayesianNetwork
from itemspace.rank.clicks.harvest import Examination, harvest_examination, swap_ratio
from itemspace.rank.clicks.lists import Lists
from itemspace.rank.clicks.position_based import PositionBased
from itemspace.rank.clicks.rates import ClickThroughRate
from itemspace.rank.clicks.user_browsing import UserBrowsing

__all__ = [
    "Cascade",
    "ClickFit",
    "ClickModel",
    "ClickThroughRate",
    "DynamicBayesianNetwork",
    "Examination",
    "Lists",
    "PositionBased",
    "SimplifiedDBN",
    "UserBrowsing",
    "harvest_examination",
    "swap_ratio",
]
