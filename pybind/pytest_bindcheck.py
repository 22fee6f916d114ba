"""The pytest plugin: says who has the port where a test fails for want of it."""
