"""What router policies did, and what they would have done."""
