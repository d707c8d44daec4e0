"""What learns and finds objects and stuff from the classes of an image, beside `mil`."""
