"""Whole commands composed of the rooms: a run, a ramp, a watch, a merge, a simulation."""
