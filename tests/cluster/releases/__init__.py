"""What harm bad releases do, rolled out in three ways under the same load: `python -m tests.cluster.releases`."""
