"""What people look at: the report and its statistics, as pure functions over result rows (`rows.py`).

Imports nothing else of promptfront: whoever can make the rows can have the report.
"""
