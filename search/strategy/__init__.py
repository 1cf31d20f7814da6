"""Which configuration is tried next, and which trial stops early."""
