"""Builds that are never made twice: what a build may see identifies it, and the same identity is the same outputs.

One idea: the identity is a digest over everything that can change the outcome, known before anything runs. So what is
to be built, what is taken from the cache and why is a comparison, and a crash leaves nothing that is believed.
"""
