"""MLflow: runs, logged and served models, and its UI; the only importer of MLflow."""
