"""From hostile bytes to planes: what a file is (`sort`), and one module for each kind of scan."""
