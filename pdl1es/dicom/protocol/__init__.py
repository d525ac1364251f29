"""The acquisition protocol: what the paper asks of a CT, kernels by vendor, and the check of a series."""
