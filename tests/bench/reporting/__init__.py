"""The page and the pictures that tests/bench/report.py makes of what was recorded."""
