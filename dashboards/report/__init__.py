"""The report: its content, its files, and the comparison of several studies."""
