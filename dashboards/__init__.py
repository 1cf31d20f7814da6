"""The report and its statistics: pure functions over result rows (`rows.py`).

Imports nothing else of promptfront: whoever can make the rows can have the report.
"""
