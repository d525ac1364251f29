"""Checklists and quality scores of radiomics studies, filled from a training run where a machine can know."""
