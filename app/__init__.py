"""The MONAI Deploy application and its entry points."""
