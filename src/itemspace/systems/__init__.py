"""The gallery: every published system of the field, one short file each, with what was measured of its claims.

```python
from itemspace.systems import find, listing, run_system

for row in listing():                       # all 156, built or not; nothing is imported
    print(row.slug, row.state)
finding = run_system("walmart_semantic_retrieval", data="data")
```
"""

from itemspace.systems.page import gallery_rows, systems_page
from itemspace.systems.registry import Row, find, findings_folder, ledger, listing
from itemspace.systems.run import run_system

__all__ = ["Row", "find", "findings_folder", "gallery_rows", "ledger", "listing", "run_system", "systems_page"]
