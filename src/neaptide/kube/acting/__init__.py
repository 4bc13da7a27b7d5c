"""How each kind of action is carried out on a cluster, one file a kind; `registry` names them all."""
