"""Training-free techniques: what acts on attention, a prediction or a step of a running sampler."""
