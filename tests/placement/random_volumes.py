"""Random claims, volumes, storage classes and CSI nodes, and pods' volumes that name them."""

from hypothesis import strategies as st
from msgspec import Struct, field
from tests.placement.clusters import HOST, ZONE, often

from neaptide.model import objects as o
from neaptide.model import storage_objects as storage
from neaptide.placement.volumes import BIND_COMPLETED, NO_PROVISIONER, SELECTED_NODE

REGION = "topology.kubernetes.io/region"
DRIVER, OTHER_DRIVER = "csi.example.com", "other.example.com"
LATER = "WaitForFirstConsumer"

_in_two_zones = (
    storage.TopologySelectorTerm((storage.TopologySelectorLabel(ZONE, ("z0",)),)),
    storage.TopologySelectorTerm(
        (storage.TopologySelectorLabel(ZONE, ("z1",)), storage.TopologySelectorLabel("disk", ("ssd",)))
    ),
)
CLASSES = {
    each.metadata.name: each
    for each in (
        storage.StorageClass(o.Metadata(name="now"), DRIVER, "Immediate"),
        storage.StorageClass(o.Metadata(name="later"), DRIVER, LATER),
        storage.StorageClass(o.Metadata(name="zonal"), OTHER_DRIVER, LATER, _in_two_zones),
        storage.StorageClass(o.Metadata(name="local"), NO_PROVISIONER, LATER),
    )
}
CLAIMS = ("c0", "c1", "c2", "c3")
SPACE = "blue"
"""Where the claims are."""


class Storage(Struct):
    """What pods' volumes lead to."""

    classes: list[storage.StorageClass] = field(default_factory=list)
    volumes: list[storage.PersistentVolume] = field(default_factory=list)
    claims: list[storage.PersistentVolumeClaim] = field(default_factory=list)
    csi_nodes: list[storage.CSINode] = field(default_factory=list)


@st.composite
def storages(draw: st.DrawFn, nodes: list[str]) -> Storage:
    """Claims of all kinds: bound, waiting, immediate, lost, for one pod, without a class or a volume that exists."""
    claims = [draw(_claims(number)) for number in range(len(CLAIMS)) if draw(often(8))]
    claims += [draw(_ephemeral(name)) for name in ("p0", "b0", "b1") if draw(often(5))]
    bound = {each.spec.volume_name: each for each in claims if each.spec.volume_name}
    numbers = range(len(CLAIMS) + 2)
    found = [draw(_volumes(number, bound.get(f"v{number}"))) for number in numbers if draw(often(8))]
    return Storage(
        [each for each in CLASSES.values() if draw(often(9))],
        found,
        claims,
        [draw(_csi_nodes(name)) for name in nodes if draw(often(6))],
    )


@st.composite
def _claims(draw: st.DrawFn, number: int) -> storage.PersistentVolumeClaim:
    annotations = {SELECTED_NODE: draw(st.sampled_from(["n0", "n1"]))} if draw(often(1)) else {}
    state = draw(st.sampled_from(["bound"] * 6 + ["free"] * 8 + ["lost", "prebound"]))
    if state == "bound":
        annotations[BIND_COMPLETED] = "yes"
    modes = draw(st.sampled_from([("ReadWriteOnce",)] * 2 + [("ReadWriteOncePod",), ("ReadOnlyMany", "ReadWriteOnce")]))
    deleted = "2026-01-01T00:00:00Z" if draw(st.integers(0, 29)) == 29 else None
    return storage.PersistentVolumeClaim(
        o.Metadata(
            name=CLAIMS[number],
            namespace=SPACE,
            uid=f"uid-of-c{number}",
            annotations=annotations,
            deletion_timestamp=deleted,
        ),
        storage.ClaimSpec(
            "" if state == "free" else f"v{number}",
            draw(st.sampled_from([*CLASSES, "later", "zonal", "local", "unknown", ""])),
            modes,
            o.Resources({"storage": draw(st.sampled_from(["1Gi", "2500Mi", "4Gi"]))}),
            o.LabelSelector({"tier": "fast"}) if draw(often(1)) else None,
            draw(st.sampled_from(["Filesystem"] * 9 + ["Block"])),
            draw(st.sampled_from([""] * 9 + ["gold"])),
        ),
        storage.ClaimStatus({"bound": "Bound", "lost": "Lost"}.get(state, "Pending")),
    )


@st.composite
def _ephemeral(draw: st.DrawFn, pod: str) -> storage.PersistentVolumeClaim:
    """The claim of a generic ephemeral volume `scratch`; a pod may find that another's claim has its name."""
    owner = o.OwnerReference(
        "Pod", pod, draw(st.sampled_from([f"uid-of-{pod}"] * 4 + ["another"])), "v1", controller=True
    )
    if not pod.startswith("p"):  # of pods that are there, kube-scheduler makes an error of that and gives up
        owner = o.OwnerReference("Pod", pod, f"uid-of-{pod}", "v1", controller=True)
    free = draw(_claims(0))
    meta = o.Metadata(name=f"{pod}-scratch", namespace=SPACE, uid=f"uid-of-{pod}-scratch", owner_references=(owner,))
    modes = {"volume_name": "", "access_modes": ("ReadWriteOnce",)}
    spec = storage.ClaimSpec(**{name: getattr(free.spec, name) for name in free.spec.__struct_fields__} | modes)
    return storage.PersistentVolumeClaim(meta, spec, storage.ClaimStatus("Pending"))


@st.composite
def _volumes(draw: st.DrawFn, number: int, claim: storage.PersistentVolumeClaim | None) -> storage.PersistentVolume:
    """A volume, for the claim that names it if there is one; no two volumes are of one size, for then lots are drawn."""
    labels = {"tier": "fast"} if draw(often(3)) else {}
    for key, values in (
        (ZONE, ["z0", "z1", "z0__z1", "z9"]),
        (REGION, ["r0", "r1"]),
        ("failure-domain.beta.kubernetes.io/zone", ["z0", "z2", ""]),
    ):
        if draw(often(4)):
            labels[key] = draw(st.sampled_from(values))
    term = st.builds(
        o.Requirement,
        st.sampled_from([ZONE, HOST, "rack"]),
        st.just("In"),
        st.sampled_from([("z0", "n0", "r0"), ("z1", "n1")]),
    )
    terms = st.builds(o.NodeSelectorTerm, st.lists(term, min_size=1, max_size=2).map(tuple))
    where = draw(st.lists(terms, min_size=1, max_size=2).map(tuple)) if draw(often(5)) else ()
    reserved = claim.metadata if claim else o.Metadata(name=draw(st.sampled_from(CLAIMS)), namespace=SPACE)
    owner = storage.ClaimReference(
        reserved.name, SPACE, draw(st.sampled_from([reserved.uid, "", "old"]) if not claim else st.just(reserved.uid))
    )
    taken = claim is not None or draw(often(1))
    driver = draw(st.sampled_from([DRIVER, DRIVER, OTHER_DRIVER, ""]))
    return storage.PersistentVolume(
        o.Metadata(
            name=f"v{number}", labels=labels, deletion_timestamp="2026-01-01T00:00:00Z" if draw(often(1, 20)) else None
        ),
        storage.VolumeSpec(
            {"storage": f"{(number * 7) % 6 + 1}Gi"},
            (claim.spec.storage_class_name or "")
            if claim
            else draw(st.sampled_from(["local", "local", "later", "zonal", ""])),
            draw(st.sampled_from([("ReadWriteOnce",), ("ReadWriteOnce", "ReadOnlyMany"), ("ReadWriteOncePod",)])),
            storage.VolumeNodeAffinity(o.NodeSelector(where)) if where else None,
            owner if taken else None,
            draw(st.sampled_from(["Filesystem"] * 9 + ["Block"])),
            draw(st.sampled_from([""] * 9 + ["gold"])),
            o.CSISource(driver, f"handle-{number % 4}") if driver else None,
        ),
        storage.VolumeStatus("Bound" if claim else draw(st.sampled_from(["Available"] * 5 + ["Released"]))),
    )


@st.composite
def _csi_nodes(draw: st.DrawFn, name: str) -> storage.CSINode:
    limits = st.none() | st.builds(storage.CSIAllocatable, st.none() | st.integers(0, 2))
    drivers = tuple(storage.CSIDriver(driver, draw(limits)) for driver in (DRIVER, OTHER_DRIVER) if draw(often(7)))
    return storage.CSINode(o.Metadata(name=name), storage.CSINodeSpec(drivers))


@st.composite
def volumes(draw: st.DrawFn, pod: o.Pod, storage: Storage) -> tuple[o.Volume, ...]:
    """A pod's volumes: claims, mostly of those that are there, a generic ephemeral one, an image."""
    found: list[o.Volume] = []
    known = [each.metadata.name for each in storage.claims if each.metadata.name in CLAIMS]
    if pod.metadata.namespace == SPACE and known:
        for number in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
            name = draw(st.sampled_from(known if pod.spec.node_name or draw(often(19, 20)) else CLAIMS))
            found.append(o.Volume(f"data{number}", persistent_volume_claim=o.ClaimSource(name)))
    if (
        storage.claims
        and pod.metadata.namespace == SPACE
        and pod.metadata.name in ("p0", "b0", "b1")
        and draw(often(2))
    ):
        found.append(o.Volume("scratch", ephemeral=o.EphemeralSource()))
    if draw(often(1)):
        found.append(o.Volume("model", image=o.ImageSource("registry.example.com/ml:2")))
    return tuple(found)
