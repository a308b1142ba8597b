"""Several runs of one plan, judged with the run as the unit."""
