"""Training: division of the cohort, data, stages of the learning rate, comparators, and the files of a run."""
