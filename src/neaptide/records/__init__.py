"""The append-only, crash-safe log that the journal, bills and the agent share."""
