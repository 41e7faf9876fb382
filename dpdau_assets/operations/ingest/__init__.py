"""From a source to recorded staged files. Merging them into days belongs to `pipeline`."""
