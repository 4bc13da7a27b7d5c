package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/latest"
	"k8s.io/kubernetes/pkg/scheduler/backend/cache"
	scheduling "k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/names"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodevolumelimits"
	engine "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	"k8s.io/kubernetes/pkg/scheduler/metrics"
)

// notAsked are default plugins that the oracle leaves out: preemption comes after the filters, and dynamic resources
// want more of an API server than lists of objects.
var notAsked = []string{names.DefaultPreemption, names.DynamicResources}

// question is a cluster as the API server stores it, and the pod that is to be placed in it.
type question struct {
	Pod                    *core.Pod                     `json:"pod"`
	Nodes                  []*core.Node                  `json:"nodes"`
	Pods                   []*core.Pod                   `json:"pods"`
	Namespaces             []*core.Namespace             `json:"namespaces"`
	Services               []*core.Service               `json:"services"`
	ReplicaSets            []*apps.ReplicaSet            `json:"replicaSets"`
	PersistentVolumeClaims []*core.PersistentVolumeClaim `json:"persistentVolumeClaims"`
	PersistentVolumes      []*core.PersistentVolume      `json:"persistentVolumes"`
	StorageClasses         []*storage.StorageClass       `json:"storageClasses"`
	CSINodes               []*storage.CSINode            `json:"csiNodes"`
}

// answer says why each node cannot take the pod, or its score. Message is what the FailedScheduling event would say.
type answer struct {
	Message  string             `json:"message"`
	Refused  *refusal           `json:"refused,omitempty"` // whatever the node
	Refusals map[string]refusal `json:"refusals"`
	Scores   map[string]score   `json:"scores"`
}

// refusal is what the first plugin that a node fails says.
type refusal struct {
	Plugin  string   `json:"plugin"`
	Reasons []string `json:"reasons"`
}

// score is weighted: the total is the sum over plugins.
type score struct {
	Total   int64            `json:"total"`
	Plugins map[string]int64 `json:"plugins"`
}

// runOracle answers questions with kube-scheduler's own default plugins: each JSON value on stdin with a line on stdout.
func runOracle() int {
	if err := answerAll(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "neaptide-oracle:", err)
		return 1
	}
	return 0
}

func answerAll(questions io.Reader, answers io.Writer) error {
	metrics.Register()
	profile, err := defaultProfile()
	if err != nil {
		return err
	}
	decoder, encoder := json.NewDecoder(questions), json.NewEncoder(answers)
	for number := 1; ; number++ {
		var asked question
		if err := decoder.Decode(&asked); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("question %d: %w", number, err)
		}
		found, err := judge(profile, &asked)
		if err != nil {
			return fmt.Errorf("question %d: %w", number, err)
		}
		if err := encoder.Encode(found); err != nil {
			return err
		}
	}
}

func defaultProfile() (*config.KubeSchedulerProfile, error) {
	defaults, err := latest.Default()
	if err != nil {
		return nil, err
	}
	profile := &defaults.Profiles[0]
	enabled := &profile.Plugins.MultiPoint.Enabled
	*enabled = slices.DeleteFunc(*enabled, func(each config.Plugin) bool { return slices.Contains(notAsked, each.Name) })
	return profile, nil
}

// judge goes the way of the scheduler's schedulePod, but looks at every node.
func judge(profile *config.KubeSchedulerProfile, asked *question) (*answer, error) {
	if asked.Pod == nil {
		return nil, errors.New("pod: missing; a pod is wanted")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	snapshot := cache.NewSnapshot(asked.Pods, asked.Nodes)
	scheduler, err := newFramework(ctx, profile, asked.stored(), snapshot)
	if err != nil {
		return nil, err
	}
	state := scheduling.NewCycleState()
	fit := &scheduling.FitError{Pod: asked.Pod, NumAllNodes: len(asked.Nodes)}
	fit.Diagnosis.NodeToStatus = scheduling.NewDefaultNodeToStatus()
	found := &answer{Refusals: map[string]refusal{}, Scores: map[string]score{}}

	looked, status, by := scheduler.RunPreFilterPlugins(ctx, state, asked.Pod)
	if status.IsRejected() {
		fit.Diagnosis.PreFilterMsg = status.Message()
		found.Refused = &refusal{status.Plugin(), status.Reasons()}
		found.Message = fit.Error()
		return found, nil
	}
	if !status.IsSuccess() {
		return nil, status.AsError()
	}
	var feasible []framework.NodeInfo
	for _, node := range asked.Nodes {
		info, err := snapshot.Get(node.Name)
		if err != nil {
			return nil, err
		}
		status := notLookedAt(by)
		if looked.AllNodes() || looked.NodeNames.Has(node.Name) {
			status = scheduler.RunFilterPlugins(ctx, state, asked.Pod, info)
		}
		switch {
		case status.IsSuccess():
			feasible = append(feasible, info)
		case status.IsRejected():
			fit.Diagnosis.NodeToStatus.Set(node.Name, status)
			found.Refusals[node.Name] = refusal{status.Plugin(), status.Reasons()}
		default:
			return nil, status.AsError()
		}
	}
	if len(feasible) == 0 {
		found.Message = fit.Error()
		return found, nil
	}
	return found, found.score(ctx, scheduler, state, asked.Pod, feasible)
}

func (a *answer) score(
	ctx context.Context, scheduler scheduling.Framework, state framework.CycleState, pod *core.Pod, nodes []framework.NodeInfo,
) error {
	if status := scheduler.RunPreScorePlugins(ctx, state, pod, nodes); !status.IsSuccess() {
		return status.AsError()
	}
	scores, status := scheduler.RunScorePlugins(ctx, state, pod, nodes)
	if !status.IsSuccess() {
		return status.AsError()
	}
	for _, node := range scores {
		plugins := map[string]int64{}
		for _, each := range node.Scores {
			plugins[each.Name] = each.Score
		}
		a.Scores[node.Name] = score{node.TotalScore, plugins}
	}
	return nil
}

// notLookedAt is the status of nodes outside those that plugins named beforehand, in the scheduler's words.
func notLookedAt(by sets.Set[string]) *framework.Status {
	plugins := sets.List(by)
	status := framework.NewStatus(
		framework.UnschedulableAndUnresolvable, fmt.Sprintf("node(s) didn't satisfy plugin(s) %v", plugins),
	)
	if len(plugins) > 0 {
		status = status.WithPlugin(plugins[0])
	}
	return status
}

// newFramework has the plugins read nodes and pods from the snapshot, and all else through informers, as they do in a cluster.
func newFramework(
	ctx context.Context, profile *config.KubeSchedulerProfile, stored []runtime.Object, snapshot *cache.Snapshot,
) (scheduling.Framework, error) {
	client := fake.NewSimpleClientset(stored...)
	factory := informers.NewSharedInformerFactory(client, 0)
	scheduler, err := engine.NewFramework(ctx, plugins.NewInTreeRegistry(), profile,
		engine.WithClientSet(client),
		engine.WithInformerFactory(factory),
		engine.WithSnapshotSharedLister(snapshot),
		engine.WithParallelism(1),
		engine.WithSharedCSIManager(nodevolumelimits.NewCSIManager(factory.Storage().V1().CSINodes().Lister())),
	)
	if err != nil {
		return nil, err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return scheduler, nil
}

// stored is what plugins read through informers.
func (q *question) stored() []runtime.Object {
	var found []runtime.Object
	found = append(found, objects(q.Namespaces)...)
	found = append(found, objects(q.Services)...)
	found = append(found, objects(q.ReplicaSets)...)
	found = append(found, objects(q.PersistentVolumeClaims)...)
	found = append(found, objects(q.PersistentVolumes)...)
	found = append(found, objects(q.StorageClasses)...)
	return append(found, objects(q.CSINodes)...)
}

func objects[T runtime.Object](items []T) []runtime.Object {
	found := make([]runtime.Object, len(items))
	for at, item := range items {
		found[at] = item
	}
	return found
}
