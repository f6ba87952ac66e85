"""Named recipes and how they become one configuration."""
