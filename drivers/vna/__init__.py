"""Vector network analysers: one face, one module for each dialect."""
