"""More libraries that run whole graphs; the registry of back ends loads each when asked for."""
