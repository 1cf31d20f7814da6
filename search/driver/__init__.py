"""One launch: Ray Tune, the second stage, limits, lock, progress, signals."""
