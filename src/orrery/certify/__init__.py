"""Does it hold? What a plan is said to do, judged from the definitions alone."""
