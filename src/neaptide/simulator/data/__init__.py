"""Tables that the package ships; SOURCE.md says where they are from."""
