"""Judges before scoring whether the input looks like one lung tumour, drawn on a CT of a chest."""
