"""The frozen model, as a function of text and injection."""
