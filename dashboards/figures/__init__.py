"""Charts as SVG, drawn from result rows."""
