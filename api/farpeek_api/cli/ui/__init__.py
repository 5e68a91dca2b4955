"""`farpeek ui`: the web page of a service, on a port of this host that is one user's alone."""
