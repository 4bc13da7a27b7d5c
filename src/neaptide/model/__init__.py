"""What a cluster is: resources, objects, QoS, actions and plans, protocols, and the snapshot that policies read. Pure."""
