"""What capacity costs: price catalogues, billing, and lower bounds. A price that is not known is None, never zero."""
