"""What does this binary compute?"""
