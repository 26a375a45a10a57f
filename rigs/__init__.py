"""Rigs (imported as ``labtrain.rigs``): each composes instruments, or a simulated world, into PhysicalLayers."""
