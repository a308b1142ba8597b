"""A whole period's log held against a contract, by exact arithmetic."""
