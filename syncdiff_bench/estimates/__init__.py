"""What work will cost, before it starts: FLOPs and memory counted on shapes alone, time from a second's trial."""
