"""The schedule is played against a target, and what happened is written down."""
