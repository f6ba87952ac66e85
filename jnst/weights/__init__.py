"""Where the weights of a network come from."""
