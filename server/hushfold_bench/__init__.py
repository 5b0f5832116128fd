"""How fast a secure sum is, and what it takes: the device's time, the server's, bytes, memory, and a peer's of each.

The modules, bottom up:

    errors      what can go wrong, as sentences
    timing      processor time and peak memory
    setting     what is summed: the plan, the devices, their updates
    yardsticks  the building blocks alone, beside a copy in memory and plain AES
    children    the server, and a device, each in a process of its own
    simulated   devices whose time is not measured, and that skip what nobody notices
    rounds      one round from join to sum
    peer        SecAgg+ of Flower on the same updates
    report      figures, as tables for a terminal and for a document, and as JSON
    cli         `hushfold-bench`
"""
