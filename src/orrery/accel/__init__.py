"""Which accelerators do we know? One folder each: function, cost, cycles, circuit."""
