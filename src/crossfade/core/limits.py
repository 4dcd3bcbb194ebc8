"""What the file allows is what every router was built for: limits that both must mean alike."""

MOST_INSTANCES = 12
"""Most instances of one version. Some routers lay out a place for each beforehand, so that nothing is loaded anew."""
