"""The whole stack on one machine: `neurobatch process` and `neurobatch serve`."""
