"""What `make bench` is made of: goals, the engine-only figures, the lab's figures, the report."""
