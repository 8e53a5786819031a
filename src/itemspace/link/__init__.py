"""Mentions, records and columns to `Matches`."""
