"""Where virtual tokens go: among the text's embeddings, or before each layer's keys and values."""
