"""What the commands of demo, benchmark, audit and evaluation have in common at a terminal.

The modules, bottom up:

    errors   what can go wrong, as sentences
    command  exit statuses, how a mistake is told, and progress
"""
