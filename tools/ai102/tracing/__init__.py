"""Spans of our own: made from rows of the access log and by the API, sent to a collector as OTLP over HTTP."""
