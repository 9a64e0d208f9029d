"""The agent: an active-learning loop that solves, trains, assesses and chooses points until the budget is spent."""
