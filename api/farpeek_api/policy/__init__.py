"""Who may do what: the policy's file, what it decides, and what tokens are."""
