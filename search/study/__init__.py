"""What is known of a study, and what runs next."""
