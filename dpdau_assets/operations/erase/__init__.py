"""Erasure requests: ids to tombstones, the filter for what arrives later, live users, completion."""
