"""Exports a trained method to a folder, in our format and in peft's."""
