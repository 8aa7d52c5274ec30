"""The friendly API: images and texts over plain HTTP and JSON, in front of Triton and behind the gateway."""
