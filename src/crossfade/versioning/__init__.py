"""Changesets in, versions out: which components are released, as what, and what is written about it.

One idea: the plan is pure. What stands in the repository is read once, the plan is computed from it, and the files
that follow from the plan are written last, all or none.
"""
