"""Steps that run on other workers than their items, because their agents have a `placement`.

parcels   what travels           away    the end of the worker that has the item
desk      the driver's end       bench   the end of the worker that does the step
"""
