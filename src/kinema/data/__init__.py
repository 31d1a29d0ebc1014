"""Samples as batches: worlds, folders, latent caches."""
