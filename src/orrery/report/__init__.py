"""Was it good? Scorecards, comparisons, text and HTML pages from neutral sections."""
