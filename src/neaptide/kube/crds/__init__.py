"""The API that Neaptide adds to a cluster, `neaptide.io/v1alpha1`: structs, from which schemas and documentation are made."""
