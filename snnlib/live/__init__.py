"""The live lab: the network of the course in a page, with the same spikes as in Python."""
