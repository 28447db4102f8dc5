"""What belongs into a cluster, and what is said of it. Pure."""
