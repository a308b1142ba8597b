"""HTTP on stamped sockets: what httpx describes, sent and timed by us. The only door to httpx."""
