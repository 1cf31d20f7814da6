"""How a study reaches machines. Knows no machine learning, and imports nothing of promptfront."""
