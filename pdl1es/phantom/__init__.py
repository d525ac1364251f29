"""Phantom studies with known truth: a chest, a tumour, a scanner."""
