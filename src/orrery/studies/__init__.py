"""What did the papers claim? Each study wires one published system and prints ours beside it."""
