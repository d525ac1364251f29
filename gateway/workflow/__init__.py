"""From a complete study to its stored result: digest, durable steps, tries and parking, clinical table, result store."""
