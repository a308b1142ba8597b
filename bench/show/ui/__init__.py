"""`tailproof ui`: a local web page over the runs of a results folder."""
