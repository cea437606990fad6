"""Finding messages: keys to sort and thread by, and texts to search, made behind the delivery."""
