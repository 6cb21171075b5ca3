"""Commands that hold results against something: measurements, a certificate, another result."""
