"""Settings and folders: read from the file, the options and the environment, and nowhere else."""
