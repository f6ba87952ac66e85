"""Programs: traced functions kept on disk, for the next process."""
