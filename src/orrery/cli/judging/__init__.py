"""Commands that hold results against something: a certificate, another result, a paper."""
