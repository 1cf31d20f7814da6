"""What a study has found: statistics, verdicts and claims, as pure functions over result rows."""
