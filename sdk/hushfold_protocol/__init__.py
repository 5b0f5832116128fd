"""What device and server say to each other, and what each may conclude from it.

Sans-IO: bytes and events in, values out. Nothing here reads a socket, a disk or a clock, and both sides run the same
code, so that they mean the same bytes and count the same privacy. The modules, bottom up:

    errors      what can go wrong, and whose fault it is
    addresses   which addresses a device talks to
    wire        the byte format of every message
    randomness  where the encoder's random bytes come from
    packing     vectors of b-bit integers as bytes
    rotation    the randomised Hadamard rotation
    skellam     exact Skellam noise
    encoding    from a float32 update to integers modulo 2^b, and from their sum back
    privacy     what a round costs
    neighbours  how many devices hold shares of one device's secrets, and how many of these open them
    graph       who holds shares of whose secrets, and who masks towards whom
    plan        the plan of a round, and the policy that a device holds it against
    messages    the messages between device, server and enrolment authority
    signing     signatures and certificates
    secagg      secure aggregation, for both roles
"""
