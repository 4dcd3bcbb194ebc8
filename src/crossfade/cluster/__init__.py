"""A Kubernetes cluster, as the runtime and the routers that live in one see it.

Names and labels say which objects are ours (`names`, `objects`), requests are plain documents to and from the API
server, with faults that a person can act on (`api`, `faults`), and a mirror keeps what is there without asking
(`mirror`). Routers that are made of such objects share their record (`record`) and their manner (`router`).
"""
