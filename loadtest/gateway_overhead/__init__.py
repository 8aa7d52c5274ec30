"""What the gateway costs over asking Triton directly."""
