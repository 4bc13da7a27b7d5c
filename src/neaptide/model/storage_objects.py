"""What placement reads of storage: claims, volumes, their classes, and what the drivers of a node carry."""

from msgspec import field

from neaptide.model.objects import ApiStruct, CSISource, Int32, LabelSelector, Metadata, NodeSelector, Resources


class ClaimSpec(ApiStruct, frozen=True):
    volume_name: str = ""
    storage_class_name: str | None = None
    access_modes: tuple[str, ...] = ()
    resources: Resources = Resources()
    selector: LabelSelector | None = None
    volume_mode: str = "Filesystem"
    volume_attributes_class_name: str = ""


class ClaimStatus(ApiStruct, frozen=True):
    phase: str = ""


class PersistentVolumeClaim(ApiStruct, frozen=True):
    metadata: Metadata = Metadata()
    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()


class VolumeNodeAffinity(ApiStruct, frozen=True):
    required: NodeSelector | None = None


class ClaimReference(ApiStruct, frozen=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""


class VolumeSpec(ApiStruct, frozen=True):
    capacity: dict[str, str] = field(default_factory=dict)
    storage_class_name: str = ""
    access_modes: tuple[str, ...] = ()
    node_affinity: VolumeNodeAffinity | None = None
    claim_ref: ClaimReference | None = None
    volume_mode: str = "Filesystem"
    volume_attributes_class_name: str = ""
    csi: CSISource | None = None


class VolumeStatus(ApiStruct, frozen=True):
    phase: str = ""


class PersistentVolume(ApiStruct, frozen=True):
    metadata: Metadata = Metadata()
    spec: VolumeSpec = VolumeSpec()
    status: VolumeStatus = VolumeStatus()


class TopologySelectorLabel(ApiStruct, frozen=True):
    key: str = ""
    values: tuple[str, ...] = ()


class TopologySelectorTerm(ApiStruct, frozen=True):
    match_label_expressions: tuple[TopologySelectorLabel, ...] = ()


class StorageClass(ApiStruct, frozen=True):
    metadata: Metadata = Metadata()
    provisioner: str = ""
    volume_binding_mode: str = "Immediate"
    allowed_topologies: tuple[TopologySelectorTerm, ...] = ()


class CSIAllocatable(ApiStruct, frozen=True):
    count: Int32 | None = None


class CSIDriver(ApiStruct, frozen=True):
    name: str = ""
    allocatable: CSIAllocatable | None = None


class CSINodeSpec(ApiStruct, frozen=True):
    drivers: tuple[CSIDriver, ...] = ()


class CSINode(ApiStruct, frozen=True):
    metadata: Metadata = Metadata()
    spec: CSINodeSpec = CSINodeSpec()
