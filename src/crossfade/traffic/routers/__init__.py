"""The products that carry the traffic: one adapter each, named after its product.

An adapter compiles its product's configuration purely, writes it once, and afterwards changes only
what can be changed without a reload.
"""
