"""Connects a study to machines. This package has no machine learning and imports nothing else of promptfront."""
