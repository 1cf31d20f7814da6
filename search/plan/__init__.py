"""What a launch would do on this machine, and how long it takes."""
