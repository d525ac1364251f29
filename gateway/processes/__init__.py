"""The gateway's processes: receiver, executor with its workers, web; and what starts and supervises them."""
