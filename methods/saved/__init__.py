"""Saves a trained method to a folder of safetensors and JSON, and loads it as a predictor."""
