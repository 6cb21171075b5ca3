"""What does happen on this machine? The only room that executes networks."""
