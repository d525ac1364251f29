"""Pretraining without any label: the network learns to see what radiomics measures in the tissue around a tumour."""
