"""Every setting, how each is written, and which go together; the only reader of the environment."""
