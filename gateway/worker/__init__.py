"""Warm workers: processes that have loaded everything once and score one study after the other."""
