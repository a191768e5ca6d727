"""Benchmarks: each compares ways to the same result, in one process and in turn; a file each."""
