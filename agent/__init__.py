"""The agent: an active-learning loop that solves, trains, judges and chooses until the budget is spent."""
