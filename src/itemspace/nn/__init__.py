"""Backbones and layers. Its modules import torch; importing this package does not."""
