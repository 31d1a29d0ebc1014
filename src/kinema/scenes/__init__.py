"""Three-dimensional scenes: cameras, Gaussians, splatting, assets, plans and layouts."""
