"""Limits that keep a filter from a stranger from costing more than a filter should."""

MAX_LENGTH = 10_000
"""Characters in a filter."""
MAX_DEPTH = 64
"""Parentheses and `not`s inside each other."""
MAX_VALUES = 10_000
"""Values in one `in (...)`."""
MAX_NUMBER = 64
"""Characters in one number."""
