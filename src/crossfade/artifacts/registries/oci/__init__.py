"""Registries of container images: one manifest is the version, and tags are names that lead to it.

One idea: everything is called by its digest. What a registry has by that digest needs no second upload, so a push
sends what is missing, children before parents, and the tag of the version last: whoever sees the tag sees all of it.
Moving a tag moves no blob, so taking a version back is one small request for each tag.
"""
