"""orrery."""
