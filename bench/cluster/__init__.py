"""What Ringgate and others cost as a cluster of two nodes around one Redis: `make bench-cluster`."""
