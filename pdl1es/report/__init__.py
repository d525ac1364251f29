"""Reports: codes, UIDs, result.json, the structured report, picture and page."""
