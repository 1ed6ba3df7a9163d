"""From files to arrays with their geometry, in processes that cannot take the parent with them."""
