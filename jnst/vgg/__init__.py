"""The frozen feature extractor."""
