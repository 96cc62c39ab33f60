"""Several people on one workspace: who may do what, who does it now, and the log of what was done.

Without a login there is one person with every right, and nobody owns anything.
"""
