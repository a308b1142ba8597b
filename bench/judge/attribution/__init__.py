"""Where the slow requests come from."""
