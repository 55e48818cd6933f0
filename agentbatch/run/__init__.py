"""The parts of one run: what it is asked to do, which items it has to do, and where it tells what happens.

`batch` makes one run of them, from beginning to end.
"""
