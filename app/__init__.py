"""The MONAI Deploy application and its command line."""

import os

# Before numpy is loaded: its matrices here are small, where a second BLAS thread costs more than it gives, and one
# thread gives the same last bits on every machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import operators  # noqa: F401 - prepares Holoscan before any module here imports MONAI Deploy
