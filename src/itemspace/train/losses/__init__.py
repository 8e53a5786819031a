"""Losses over the whole catalogue or a sample of it; each its own file. Its modules import torch."""
