"""The gateway: a PACS sends studies, the chain scores them, the reports go back, and nothing is lost on the way."""
