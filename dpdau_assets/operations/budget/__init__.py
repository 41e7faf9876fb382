"""What a release may cost: terms, caps, snapshots, plans. It cannot read data, so no refusal depends on data."""
