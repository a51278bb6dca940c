"""Groups of objects: how well neighbours and clusters agree with them."""
