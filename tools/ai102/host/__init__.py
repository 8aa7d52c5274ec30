"""This machine: its sockets, processes, private files and processor."""
