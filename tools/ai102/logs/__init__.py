"""Logs of every part in one schema: followed and masked on their host into a spool, shipped from there, searched."""
