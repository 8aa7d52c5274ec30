"""The gateway's data path on nginx."""
