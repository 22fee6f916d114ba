"""What helps, in the words of each system."""
