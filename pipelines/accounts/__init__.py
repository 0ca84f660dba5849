"""Keys and usage: what is made of them, and the database that holds them."""
