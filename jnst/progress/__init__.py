"""Progress: what callbacks receive, and what shows it in terminals and notebooks."""
