"""What would the circuit be? Hardware parts, Verilog, co-simulation, synthesis."""
