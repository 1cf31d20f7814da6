"""One worker: model, batches, training, evaluation, checkpoints. Knows neither Optuna nor MLflow."""
