"""The API of a kubelet: who may ask, what is answered, and tunnels to a provider's streaming server."""
