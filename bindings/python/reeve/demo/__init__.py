"""``reeve demo``: every file of a folder becomes a job."""
