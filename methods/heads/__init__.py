"""Heads: what a task reads from hidden states, and how text is written."""
