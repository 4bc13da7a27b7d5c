"""What to do: one file per policy, the formulas they stand on, and the arbiter. Pure."""
