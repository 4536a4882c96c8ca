"""The vocabulary of neurobatch: codes, errors, records, settings; the HTTP client and the command."""
