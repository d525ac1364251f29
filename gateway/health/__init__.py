"""How the gateway is: heartbeats of its processes, what keeps it from being ready, metrics, and their HTTP addresses."""
