"""The verdict: pure functions of an attempt, its trials and a snapshot.

No clock, no system call, no look at the C core: so a snapshot from any machine is a
test case on every other.
"""
