"""The user's files become frozen models, and a suite becomes a schedule: pure, seeded, saved."""
