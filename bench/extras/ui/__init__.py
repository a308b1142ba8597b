"""`tailproof ui`: a local web page over the runs of a results folder."""

from bench.extras import Extra

EXTRA = Extra(commands={"ui": "watch"})
