"""Files of people: images read and written, folders of them, outputs that replace nothing."""
