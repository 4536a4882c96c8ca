"""`python -m bench COMMAND`."""

from bench.commands import bench

if __name__ == "__main__":
    bench()
