"""`Dataset` and where it comes from: readers, splits, and worlds planted with a known best answer."""
