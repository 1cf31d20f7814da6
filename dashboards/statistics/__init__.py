"""Numbers only: how sure test scores and their differences are. Knows nothing of result rows."""
