"""Long runs that attack the service; `make test` does short ones of each."""
