"""The search for the highest rate that a contract holds at."""
