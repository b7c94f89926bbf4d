"""Drop-in faces for other libraries: scripts written for them run with only the import changed."""
