"""The labelling aid: frames into a folder, a page on this machine where a person labels them, weak labels out."""
