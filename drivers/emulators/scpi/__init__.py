"""Emulators that speak SCPI: their common core."""
