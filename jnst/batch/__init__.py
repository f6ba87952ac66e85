"""Many images."""
