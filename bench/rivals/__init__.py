"""The servers that `bench/compare.py` measures: one module each, which has a `RIVAL`.

A module whose server is written in Python is also that server: run with `python -m` it listens, prints its
port, and serves two things, as the floor does: `/echo` sends every message back, and a message that comes
on `/publish` goes to every connection of `/subscribe`.
"""
