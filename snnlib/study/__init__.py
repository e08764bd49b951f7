"""What simulations tell: where accuracy is lost, what spikes cost, when to stop."""
