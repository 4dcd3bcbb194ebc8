"""Where versions run: the port of all runtimes and their adapters.

A runtime keeps a wanted number of instances of one version in each of a target's two slots, and tells
the truth about what is there now. It supervises on its own: instances outlive Crossfade.
"""
