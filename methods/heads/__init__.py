"""Heads, which turn hidden states into logits, and the writing of texts."""
