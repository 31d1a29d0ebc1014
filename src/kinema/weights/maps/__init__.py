"""Key maps, one file per network."""
