"""Taking responsibility for mail: what an edge hands over is durable when it is answered."""
