"""A model as agents meet it: limited, retried, healthy or not, priced, and with others to take its place."""
