"""What people see: the page and the agents' inbox. They work with the routes' own functions."""
