"""Pod providers, one file each."""
