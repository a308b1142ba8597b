"""What APIs say on the wire: one module an API, and the framings they share. No I/O, no clock."""
