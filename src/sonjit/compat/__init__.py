"""Drop-in interfaces of other libraries: scripts written for them run with only the import changed."""
