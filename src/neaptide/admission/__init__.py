"""What a new pod becomes: rules that add to it, one file each."""
