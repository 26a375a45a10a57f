"""Emulated vector network analysers."""
