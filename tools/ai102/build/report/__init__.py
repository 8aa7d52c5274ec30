"""What quantization did to a network, as a page for people and as JSON for programs."""
