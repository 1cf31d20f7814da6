"""The study's database. Only this package and `search/strategy/` import Optuna."""
