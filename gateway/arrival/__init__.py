"""Whether a study has arrived whole: pure functions of what is on disk and what is still in flight."""
