"""Well-kept search libraries behind the few calls an index needs, keyed by slot. Imported only when used."""
