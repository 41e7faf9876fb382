"""Where things stand, what is due, and what a person must be told."""
