"""Networks that turn images into vectors and maps: each is a trunk of one shape, with a pool over its deepest grid."""
