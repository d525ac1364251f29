"""Figures like the paper's, from the results of `training.statistics`: pure functions that return matplotlib figures."""
