"""Caches in front of a store, one file for each product: how it is told that a pointer has moved."""
