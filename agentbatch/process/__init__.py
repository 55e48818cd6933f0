"""This process: its stop switch, signals, descriptors, event loop."""
