"""The state of a study, and which trial runs next."""
