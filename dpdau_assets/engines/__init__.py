"""Reading a source once and pseudonymising it. `protocol` is what an engine promises."""
