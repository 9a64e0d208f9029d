"""The built-in solvers: benchmark problems of the LaSDI papers."""
