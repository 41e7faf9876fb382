"""Speed and memory by the command line, against what a plain query needs for the same numbers without privacy."""
