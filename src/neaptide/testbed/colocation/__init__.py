"""A service beside offline jobs on one real node: what each gets, alone, uncontrolled, by requests and limits, and under the agent."""
