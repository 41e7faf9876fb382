"""Looks for erased users, damage and disagreement, and certifies. It changes nothing."""
