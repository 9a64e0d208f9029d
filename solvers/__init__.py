"""Full-order models: the built-in solvers, the contract they satisfy, and the store of their solutions."""
