"""What people see of a run: formats only, computes neither a verdict nor a statistic."""
