"""Secure aggregation: the server learns the sum of the survivors' vectors, and nothing else.

The protocol is that of Bonawitz et al. 2017 (CCS, doi 10.1145/3133956.3133982) in its form against a malicious
server, with Bell et al. 2020 (arXiv 2009.... "SecAgg+") as the road to sparse graphs. `device` and `server` are
the two roles as values: a state and a message give a new state and the messages to send. Neither reads a clock, a
socket or a disk.
"""
