"""The places of virtual tokens: among the text's embeddings, or in front of each layer's keys and values."""
