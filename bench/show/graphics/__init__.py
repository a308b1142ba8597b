"""Graphics of a page, one module each: a frozen record with a sentence and its markup."""
