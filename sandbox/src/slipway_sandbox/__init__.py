"""A cloud and machines to develop against."""
