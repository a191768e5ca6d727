"""Numbers that say how good a translation is, a file per number."""
