"""The parts of the simulated optical bench, a file each; :mod:`labtrain.sim.optical` puts them together."""
