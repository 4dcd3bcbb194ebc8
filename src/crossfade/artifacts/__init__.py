"""What a release is made of, and where it lies: builds, registries, and the journal that publishes it.

One idea: a registry tells the truth about what is there, so publishing is a comparison. What is there already is
verified, what is absent is uploaded, what differs is an error; a crash at any moment leaves a state that the same
comparison goes on from.
"""
