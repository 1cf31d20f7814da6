"""What methods of one structure need to run together: their parameters are slices of the same tensors."""
