"""The main job, shown: real processes on loopback, real HTTP, real pictures, and the books compared at the end."""
