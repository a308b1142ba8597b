"""tailproof: does this LLM API keep its latency and uptime contract, in the tail?

The pipeline, and the folder listing: plan -> load -> record -> judge -> show.
"""

__version__ = "0.2.0"
