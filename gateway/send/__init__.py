"""Sending results: where each goes, when it is tried again, and what proves that it arrived."""
