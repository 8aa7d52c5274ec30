"""The spool's documents, sent to OpenSearch; and old indices, removed there."""
