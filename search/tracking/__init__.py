"""MLflow: runs, logged and served models, and its UI. Only this package imports MLflow."""
