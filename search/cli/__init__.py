"""What a user types and reads in the terminal."""
