"""How noise becomes a sample and a sample becomes a loss."""
