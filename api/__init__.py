"""The HTTP API and its console: what users and programs ask, answered from the store and Redis."""
