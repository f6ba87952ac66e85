"""One image in the style of another."""
