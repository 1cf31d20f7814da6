"""Runs one launch: Ray Tune, the second stage, limits, lock, progress and signals."""
