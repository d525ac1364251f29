"""Retention: which studies may go, and their removal. Nothing goes before its result is confirmed where it had to go."""
