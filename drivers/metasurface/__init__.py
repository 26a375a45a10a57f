"""Programmable metasurfaces: one face, one module for each controller."""
