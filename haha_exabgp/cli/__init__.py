"""`haha …`: one file a verb group."""
