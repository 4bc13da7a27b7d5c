"""Clouds that make nodes on a real cluster, one file each; `registry` names them all."""
