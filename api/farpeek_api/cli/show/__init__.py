"""What a terminal shows: escaped text, colours, tables, bytes."""
