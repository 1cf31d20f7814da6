"""Result rows and provenance, which dashboards read."""
