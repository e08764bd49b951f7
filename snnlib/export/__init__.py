"""The network in formats that other programs read (chapter 10, *Take the network elsewhere*)."""
