"""Files: checkpoints, run folders, exports, and images from users."""
