"""Image perturbations: the same tumour, positioned, scanned and drawn a little differently (Zwanenburg et al. 2019)."""
