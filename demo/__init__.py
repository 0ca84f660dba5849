"""Sample recordings, the small models that ship, and the recipes that make them."""
