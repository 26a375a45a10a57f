"""Ready configurations (``labtrain.configs``); ``labtrain init NAME`` copies one out."""
