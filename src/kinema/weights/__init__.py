"""Checkpoints: key maps, manifests, files."""
