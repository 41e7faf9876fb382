"""Error, coverage, loss and time of every mechanism, sketch and budget over a stream."""
