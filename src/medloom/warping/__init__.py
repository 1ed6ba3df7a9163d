"""Maps between images: how they are made, how they move an image, and how alike two images are."""
