"""What a study has found. Pure functions over result rows."""
