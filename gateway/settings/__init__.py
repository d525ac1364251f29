"""``gateway.yaml``: every section's model put together, read once and checked whole."""
