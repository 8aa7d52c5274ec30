"""The gateway's data path on HAProxy."""
