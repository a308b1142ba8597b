"""The figures of a report, and the only door to matplotlib."""
