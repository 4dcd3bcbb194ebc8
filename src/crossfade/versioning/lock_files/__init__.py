"""Lock files after a release: what they say about the repository's own packages, and nothing else.

A release changes versions and ranges of packages that lie in the repository. Lock files repeat both, and package managers
refuse to install from one that has fallen behind. Nothing has to be resolved for that: the same text, with those versions
and ranges replaced, is what `npm install`, `pnpm install`, `yarn install` and `uv lock` would write. Everything is pure:
the edits of manifests in, the edits of lock files out.
"""
