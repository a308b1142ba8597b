"""The records of a run as types: run.json, summary.json, verdicts.json and their parts."""
