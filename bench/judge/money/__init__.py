"""What a run was billed, and what a month would be."""
