"""Control of a run while it goes, from another process: over a socket beside the results, in JSON lines."""
