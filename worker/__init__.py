"""The worker: Celery app and tasks, supervisor and children, planning, shards, finalising, recovery."""
