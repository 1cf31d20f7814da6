"""Result rows and provenance, which the dashboards read."""
