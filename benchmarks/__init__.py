"""Programs that measure: speed beside peers, and how often the judge errs."""
