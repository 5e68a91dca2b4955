"""What goes over a broker between clients and nodes: names, headers, problems, answers."""
