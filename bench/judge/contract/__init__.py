"""A run held against a contract: which rows count, which break a clause, and the verdict."""
