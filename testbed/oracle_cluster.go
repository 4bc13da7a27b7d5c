package main

import (
	"fmt"
	"reflect"

	appsapi "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	storageapi "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/informers/apps"
	coreinformers "k8s.io/client-go/informers/core"
	"k8s.io/client-go/informers/internalinterfaces"
	"k8s.io/client-go/informers/storage"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// cluster is what the API server stores, as far as default plugins read it. Pods are those that have a node.
type cluster struct {
	Nodes                  []*core.Node                     `json:"nodes"`
	Pods                   []*core.Pod                      `json:"pods"`
	Namespaces             []*core.Namespace                `json:"namespaces"`
	Services               []*core.Service                  `json:"services"`
	ReplicationControllers []*core.ReplicationController    `json:"replicationControllers"`
	ReplicaSets            []*appsapi.ReplicaSet            `json:"replicaSets"`
	StatefulSets           []*appsapi.StatefulSet           `json:"statefulSets"`
	PersistentVolumeClaims []*core.PersistentVolumeClaim    `json:"persistentVolumeClaims"`
	PersistentVolumes      []*core.PersistentVolume         `json:"persistentVolumes"`
	StorageClasses         []*storageapi.StorageClass       `json:"storageClasses"`
	CSINodes               []*storageapi.CSINode            `json:"csiNodes"`
	CSIDrivers             []*storageapi.CSIDriver          `json:"csiDrivers"`
	CSIStorageCapacities   []*storageapi.CSIStorageCapacity `json:"csiStorageCapacities"`
	VolumeAttachments      []*storageapi.VolumeAttachment   `json:"volumeAttachments"`
}

// objects are all but nodes and pods, which plugins read from the scheduler's snapshot.
func (c *cluster) objects() map[reflect.Type][]runtime.Object {
	found := map[reflect.Type][]runtime.Object{}
	add(found, c.Namespaces)
	add(found, c.Services)
	add(found, c.ReplicationControllers)
	add(found, c.ReplicaSets)
	add(found, c.StatefulSets)
	add(found, c.PersistentVolumeClaims)
	add(found, c.PersistentVolumes)
	add(found, c.StorageClasses)
	add(found, c.CSINodes)
	add(found, c.CSIDrivers)
	add(found, c.CSIStorageCapacities)
	add(found, c.VolumeAttachments)
	return found
}

func add[T runtime.Object](to map[reflect.Type][]runtime.Object, items []T) {
	for _, item := range items {
		kind := reflect.TypeFor[T]()
		to[kind] = append(to[kind], item)
	}
}

// stillInformers hold a cluster that does not change: nothing is watched, and handlers hear of every object at once.
//
// Informers on a fake client would tell handlers in the background, and whoever asks plugins might be faster.
type stillInformers struct {
	informers.SharedInformerFactory // of the groups that no plugin which is asked reads
	client                          kubernetes.Interface
	objects                         map[reflect.Type][]runtime.Object
	made                            map[reflect.Type]cache.SharedIndexInformer
}

func newStillInformers(client kubernetes.Interface, of *cluster) *stillInformers {
	return &stillInformers{
		SharedInformerFactory: informers.NewSharedInformerFactory(client, 0),
		client:                client,
		objects:               of.objects(),
		made:                  map[reflect.Type]cache.SharedIndexInformer{},
	}
}

func (s *stillInformers) Apps() apps.Interface          { return apps.New(s, "", nil) }
func (s *stillInformers) Core() coreinformers.Interface { return coreinformers.New(s, "", nil) }
func (s *stillInformers) Storage() storage.Interface    { return storage.New(s, "", nil) }

// InformerFor is where the groups get their informers from.
func (s *stillInformers) InformerFor(
	object runtime.Object, informer internalinterfaces.NewInformerFunc,
) cache.SharedIndexInformer {
	kind := reflect.TypeOf(object)
	if s.made[kind] == nil {
		made := stillInformer{informer(s.client, 0)}
		for _, each := range s.objects[kind] {
			if err := made.GetStore().Add(each); err != nil {
				panic(fmt.Sprintf("%s: %v", kind, err)) // only for objects without metadata
			}
		}
		s.made[kind] = made
	}
	return s.made[kind]
}

type stillInformer struct{ cache.SharedIndexInformer }

func (s stillInformer) AddEventHandler(handler cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
	for _, each := range s.GetStore().List() {
		handler.OnAdd(each, true)
	}
	return s.SharedIndexInformer.AddEventHandler(handler)
}
