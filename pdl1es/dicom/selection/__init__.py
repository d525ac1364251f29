"""Which CT series and which segment of a study are scored, and why."""
