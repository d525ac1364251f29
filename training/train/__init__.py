"""Training: division of the cohort, data, stages of the learning rate, comparators, and what a run leaves behind."""
