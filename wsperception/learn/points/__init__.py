"""What learns and finds objects from a point each."""
