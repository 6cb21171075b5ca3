"""Who does what, when, where? Searches and schedulers; they write plans, never run them."""
