"""The MONAI Deploy application and its command line."""

import operators  # noqa: F401 - prepares Holoscan before any module here imports MONAI Deploy
