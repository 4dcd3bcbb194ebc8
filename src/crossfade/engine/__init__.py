"""The loop that carries rollouts to their end: claim, observe, decide, write, carry out.

A rollout is a row that is looked at again and again; every side effect is a short durable action. Any
process may die at any instant: leases run out, the outbox holds what is still to be done, and both
are taken up by whoever comes next. `runner` is the port through which actions are carried out.
"""
