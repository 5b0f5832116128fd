"""Secure aggregation: the server learns the sum of the survivors' vectors, and nothing else.

The protocol is that of Bonawitz et al. 2017, "Practical Secure Aggregation for Privacy-Preserving Machine Learning"
(CCS 2017, doi 10.1145/3133956.3133982), in its form against a malicious server: keys are signed, and devices agree on
the survivors before they unmask. What is added to it (the sharers are agreed on too, seeds are committed to) is in
docs/adr/0003.

Up to a hundred devices the graph is complete: each device shares its secrets with every other and masks towards every
other. In a larger session each device chooses k others as holders, and masks towards these and towards those who have
chosen it, as in the variant against a malicious server of Bell et al. 2020, "Secure Single-Server Aggregation with
(Poly)Logarithmic Overhead" (CCS 2020, doi 10.1145/3372297.3417885). k is some dozens for whatever n, which is at most
`plan.MAX_COHORT`. docs/neighbours.md derives it, and says what a server gains that drops, withholds and shows different
lists: nothing but the loss of a sum.

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

Who is whose neighbour, a plan says: `hushfold_protocol.graph`.

The roles are values: a state and a message give a new state and the messages to send. Neither reads a clock, a socket
or a disk.
"""
