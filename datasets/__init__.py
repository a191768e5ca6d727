"""Tools that make, fetch and arrange image sets; the sets themselves lie in folders beside them."""
