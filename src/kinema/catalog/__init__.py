"""The catalog: the literature of video diffusion as data, to be searched, counted and drawn."""

from kinema.catalog.methods import Method, catalog
from kinema.catalog.search import Facets, Found, search

__all__ = ["Facets", "Found", "Method", "catalog", "search"]
