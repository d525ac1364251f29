"""The command line ``pdl1es``."""
