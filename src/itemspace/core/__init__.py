"""The values every boundary speaks, the contracts, `where`, artifacts, seeding and errors."""
