"""Many tasks that depend on one another, on the cores of this machine or on a Ray cluster.

A `Task` is a function with arguments. An `Engine` runs tasks, tells how they went, and stops when it is asked to.
"""
