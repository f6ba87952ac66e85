"""Optimisers of an image."""
