"""Proofs of the guarantees with real processes and real servers; prove.py is their front door."""
