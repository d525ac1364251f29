"""The MONAI Deploy application and its command line."""
