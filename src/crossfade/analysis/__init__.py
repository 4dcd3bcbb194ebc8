"""Is the new version worse than the old one? Asked after every bucket, answered with a guarantee.

Pure functions over frozen values: `judge` folds samples into findings. No I/O, no clock, no randomness;
`sources/` holds the adapters that fetch counts.
"""
