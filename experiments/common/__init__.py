"""What the binaries share: flags, runs, progress."""
