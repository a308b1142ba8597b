"""Servers, worlds, runs and answers that tests of several rooms share."""
