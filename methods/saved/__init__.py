"""A trained method as a folder of safetensors and JSON, and as a predictor."""
