"""Two arms held against each other."""
