"""`crossfade.yaml` becomes a typed project, and every fault in it is told at once.

`model` holds the words of the file as frozen values; `load` reads a file into them, keeping the line
of every key; `schema` exports them for editors. Nothing is guessed: an unknown key is an error.
"""
