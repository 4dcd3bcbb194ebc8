"""Where counts come from: one adapter for each product, all of them behind `port.Source`.

A source tells the truth about what it does not know: samples are complete or absent, and `newest_at` says how far they reach.
"""
