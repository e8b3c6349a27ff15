"""Malformed input of every kind: each works, or is refused in words that say where it is and what to type."""
