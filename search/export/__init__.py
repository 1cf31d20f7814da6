"""A trained method as a folder: ours, and peft's."""
