"""The trace file: OTLP-JSON out, trees for people back."""
