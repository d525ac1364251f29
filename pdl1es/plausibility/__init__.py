"""Plausible before scored: does what was read look like one lung tumour, drawn on a CT of a chest?"""
