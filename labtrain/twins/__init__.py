"""Digital twins: differentiable models of a layer, fitted to what it answered. One kind a file."""
