"""What was planned and what happened, row for row, and the folder that keeps both."""
