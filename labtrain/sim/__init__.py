"""Simulated worlds: numpy and scipy alone. An answer depends on the shot, never on batch size, order or retries."""
