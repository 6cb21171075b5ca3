"""What would happen, event by event?"""
