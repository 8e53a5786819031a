"""The record: items, events and vectors with versions. Indexes are derived from it; it knows no `Space`."""
