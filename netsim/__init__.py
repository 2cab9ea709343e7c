"""A network in a box: what a path does to packets, in virtual time and in real time.

The rule: nothing here knows what the packets are; it imports nothing of the other packages.
"""
