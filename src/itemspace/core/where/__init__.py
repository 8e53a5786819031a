"""`where`: filters over a catalogue's columns, as people type them.

```text
price < 80 and in_stock
category in ('boots', 'tents') and not (brand = 'Acme' or rating is null)
'red' in colors and title contains 'waterproof' and released >= '2024-05-01'
price between 10 and 20 and `screen size` >= 5.5
```

Logic is three-valued, as in SQL: a comparison with a missing value is unknown, and only rows that are surely true match.
NaN counts as missing. Text compares exactly (case matters), in code point order.
"""

from itemspace.core.where.compiler import compile_where, evaluate, recompiled
from itemspace.core.where.limits import MAX_DEPTH, MAX_LENGTH, MAX_VALUES
from itemspace.core.where.parser import parse_where
from itemspace.core.where.sql import to_sql
from itemspace.core.where.tree import (
    And,
    Between,
    Column,
    Compare,
    Constant,
    Contains,
    Expression,
    In,
    IsNull,
    Not,
    Or,
    StartsWith,
    Truth,
    columns_of,
)

__all__ = [
    "MAX_DEPTH",
    "MAX_LENGTH",
    "MAX_VALUES",
    "And",
    "Between",
    "Column",
    "Compare",
    "Constant",
    "Contains",
    "Expression",
    "In",
    "IsNull",
    "Not",
    "Or",
    "StartsWith",
    "Truth",
    "columns_of",
    "compile_where",
    "evaluate",
    "parse_where",
    "recompiled",
    "to_sql",
]
