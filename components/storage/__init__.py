"""Files of object stores and hubs: fetched by digest, published whole."""
