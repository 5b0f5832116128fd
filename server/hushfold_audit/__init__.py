"""Does a task keep what its ledger claims? Canaries take part in it, and observers guess from what they see.

The modules, bottom up:

    errors     what can go wrong, as sentences
    setting    how large a task is
    estimates  from scores to epsilon: a bound that assumes nothing, and a fit of two normal distributions
    canaries   devices that send a secret direction or nothing, and which of them do
    typists    ordinary devices, which train on what people wrote
    cohort     secure aggregation of one round, and what the server receives on the way
    seen       what leaves the devices of a task
    rehearsed  one task from its file to its released model
    observers  what three kinds of observers see of it, as a score for each canary
    planted    bugs, for the audit to find
    report     claims and findings, as a table for people and as JSON
    cli        `hushfold-audit`
"""
