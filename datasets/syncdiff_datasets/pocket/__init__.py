"""pocket: a drawn miniature world in which everything really trains and runs on a CPU; its clips lie as LRS2's do."""
