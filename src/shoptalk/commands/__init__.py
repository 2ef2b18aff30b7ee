"""The verbs that are not the story: each works on folders and files that a user names."""
