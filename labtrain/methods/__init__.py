"""Training methods, one a file, each on about a page, in the notation of its paper."""
