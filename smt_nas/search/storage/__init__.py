"""The study: trials and notes in a database, which several processes may share."""
