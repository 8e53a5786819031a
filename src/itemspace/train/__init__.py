"""The one loop for our own models, with its losses, samplers, packing and validation. Imports no torch by itself."""
