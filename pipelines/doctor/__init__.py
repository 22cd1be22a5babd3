"""What would keep lines from running on a cluster, found before the first night, each with its mend."""
