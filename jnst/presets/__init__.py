"""Named presets and how they become one configuration."""
