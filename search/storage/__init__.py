"""The study's database; with strategy the only importer of Optuna."""
