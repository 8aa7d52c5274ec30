"""Container images: the models image written by us, the others by Docker; bills of materials; a private registry."""
