"""The referee: starts every system by one contract, measures it from outside, records figures."""
