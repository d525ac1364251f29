"""A cohort: its table checked, its images prepared into one cache, imported from public layouts, or synthesised."""
