"""The training steps of trials: each alone, or those of one structure as slices of the same tensors, all in one forward."""
