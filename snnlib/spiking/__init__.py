"""The spiking network: its neurons, its input, its exact grid, and how a CNN becomes one."""
