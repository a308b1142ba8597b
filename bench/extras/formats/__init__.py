"""Results and contracts in other tools' shapes."""

from bench.extras import Extra

EXTRA = Extra(commands={"import-openslo": "export"}, export="bench.extras.formats.command")
