"""What a computer's disk and processes need: atomic files, the one file-system door, leases, liveness, interrupts."""
