"""What one would write or pick instead of neurobatch, each in its best simple form, in a process of its own."""
