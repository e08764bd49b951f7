"""Before conversion: a CNN is built and trained, read as layers of neurons, and balanced."""
