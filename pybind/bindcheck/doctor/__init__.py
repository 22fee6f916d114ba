"""What bindcheck can and cannot see here, each found out by trying it."""
