"""The chain's operators: thin shells, one a file, around the functions of ``pdl1es``."""

from operators.holoscan_runtime import prepare_holoscan

prepare_holoscan()
