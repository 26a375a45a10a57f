"""Small tables that travel with the package; each has its provenance beside it."""
