"""The study file: its sections, hyperparameter spaces, places and error messages."""
