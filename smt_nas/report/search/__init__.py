"""What a search says: its survey, its front as table, notes and document."""
