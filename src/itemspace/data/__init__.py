"""Datasets: readers for published formats, schema inference, descriptions, splits and planted worlds."""
