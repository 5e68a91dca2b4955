"""Forced reuse of process numbers, against a service that is asked over HTTP all the while."""
