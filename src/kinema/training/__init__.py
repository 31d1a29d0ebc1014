"""Objectives, the trainer, stages, checkpoints."""
