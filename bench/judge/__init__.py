"""From samples to verdicts: the statistics, the clauses, and what they cost."""
