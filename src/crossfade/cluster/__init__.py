"""A Kubernetes cluster, as the runtime and the routers that live in one see it.

Names and labels say which objects are ours (`names`), requests are plain documents to and from the API server, with
faults that a person can act on (`api`, `faults`), and a mirror keeps what is there without asking (`mirror`).
"""
