"""Limits over many workers: one bank has the books, workers borrow what they need of them.

loans      what travels between the two      shares     so many places, or dollars, shared by need
bank       whose books they are              borrower   a worker's end
"""
