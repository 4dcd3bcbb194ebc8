"""Python package indexes: wheels and sdists, found by the simple API, uploaded by the form that every index takes.

One idea: a version is a set of files, and each file is its own question. A crash may leave some of them there; the
next upload sends what is missing and never what is there. Nothing is ever deleted, so a withdrawal is a word to a
person: no index lets a program yank.
"""
