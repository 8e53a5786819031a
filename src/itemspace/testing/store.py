"""`StoreContract`: what any store must do. Subclass it with `store_class` set and the tests run on that store."""

from itemspace.testing.store_cases import SIMPLE, rows, some_items
from itemspace.testing.store_states import StoreStates
from itemspace.testing.store_writes import StoreWrites

__all__ = ["SIMPLE", "StoreContract", "rows", "some_items"]


class StoreContract(StoreWrites, StoreStates):
    """The tests. `store_class` is the class under test; `kills` how often the kill test kills."""
