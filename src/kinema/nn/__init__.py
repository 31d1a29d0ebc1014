"""Layers: attention, positions, norms, convolutions. They know nothing of tasks."""
