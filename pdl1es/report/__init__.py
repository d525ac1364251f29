"""What a report is made of: codes, UIDs, result.json and the structured report."""
