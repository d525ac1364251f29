"""Steering: what `pdl1es serve` and `pdl1es gateway ...` do, and what they show."""
