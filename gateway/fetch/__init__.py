"""Fetching from an archive: the CT series that a contour was drawn on, our earlier reports, and who the patient is there now."""
