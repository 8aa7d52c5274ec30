"""Workers: jobs taken from the queue, joined to full batches, asked of Triton, and their ends written."""
