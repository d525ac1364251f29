"""The object store: every received object on disk, byte for byte, and an index of them."""
