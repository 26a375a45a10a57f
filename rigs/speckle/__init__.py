"""Commissioning of an optical bench from its frames: exposure, dark, speckle, phase, stability, transmission matrix."""
