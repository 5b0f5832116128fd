"""Secure aggregation: the server learns the sum of the survivors' vectors, and nothing else.

The protocol is that of Bonawitz et al. 2017, "Practical Secure Aggregation for Privacy-Preserving Machine Learning"
(CCS 2017, doi 10.1145/3133956.3133982), in its form against a malicious server: keys are signed, and devices agree on
the survivors before they unmask. What is added to it (the sharers are agreed on too, seeds are committed to) is in
docs/adr/0003.

What is built is the complete graph: each device shares its secrets with every other and masks towards every other. Of n
devices, each makes 2 n key agreements and n masks of the vector; the server passes on n^2 sealed shares (82 bytes each)
and takes off a mask for each pair of a drop-out and a survivor. That serves a thousand devices, which is what
`plan.MAX_COHORT` admits. The sparse graphs of Bell et al. 2020, "Secure Single-Server Aggregation with
(Poly)Logarithmic Overhead" (CCS 2020, doi 10.1145/3372297.3417885), where a device has some hundred neighbours however
large the cohort, are not built.

An enrolled device that cheats can end a round, but not open or falsify another device's update ("security with abort").
A join that would void the roster is refused alone. But whoever is sent shares that do not open drops out, before it has
uploaded or been charged: if these are too many, the round ends, and only their own errors name the sender. And wrong
shares, or a secret other than the one committed to, end the round when its sum is to be opened, after the charge: the
error names the device whose secret it was, which may be the fault of a holder of its shares. Verifiable secret sharing
(Feldman 1987, doi 10.1109/SFCS.1987.4), which would tell the two apart, is not built.

Bottom up:

    shamir   secret sharing of 32-byte secrets
    crypto   key derivation, sealed shares, commitments, mask streams
    session  what both roles derive from a roster, and check alike
    device   the device's role
    server   the server's role

The roles are values: a state and a message give a new state and the messages to send. Neither reads a clock, a socket
or a disk.
"""
