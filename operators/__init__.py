"""The chain as operators of MONAI Deploy: thin shells, one per file, around the steps of ``pdl1es.chain``."""
