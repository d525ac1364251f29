"""The chain's operators: thin shells, one a file, around the functions of ``pdl1es``."""
