"""The kinds of clauses, one a file; `registry` lists them."""
