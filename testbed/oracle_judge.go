package main

import (
	"context"
	"fmt"
	"slices"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
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
)

// notAsked are default plugins that the oracle leaves out: preemption comes after the filters, and dynamic resources
// want more of an API server than lists of objects.
var notAsked = []string{names.DefaultPreemption, names.DynamicResources}

type profile = config.KubeSchedulerProfile

func defaultProfile() (*profile, error) {
	defaults, err := latest.Default()
	if err != nil {
		return nil, err
	}
	found := &defaults.Profiles[0]
	enabled := &found.Plugins.MultiPoint.Enabled
	*enabled = slices.DeleteFunc(*enabled, func(each config.Plugin) bool { return slices.Contains(notAsked, each.Name) })
	return found, nil
}

// judge is a scheduler before a cluster: the framework with all plugins, and each plugin by itself.
type judge struct {
	nodes     []*core.Node
	snapshot  *cache.Snapshot
	framework scheduling.Framework
	plugins   []framework.Plugin
}

func newJudge(ctx context.Context, profile *profile, of *cluster) (*judge, error) {
	client := fake.NewClientset()
	informers := newStillInformers(client, of)
	snapshot := cache.NewSnapshot(of.Pods, of.Nodes)
	registry := plugins.NewInTreeRegistry()
	all, err := engine.NewFramework(ctx, registry, profile,
		engine.WithClientSet(client),
		engine.WithInformerFactory(informers),
		engine.WithSnapshotSharedLister(snapshot),
		engine.WithParallelism(1),
		engine.WithSharedCSIManager(nodevolumelimits.NewCSIManager(informers.Storage().V1().CSINodes().Lister())),
	)
	if err != nil {
		return nil, err
	}
	found := &judge{of.Nodes, snapshot, all, nil}
	for _, each := range profile.Plugins.MultiPoint.Enabled {
		at := slices.IndexFunc(profile.PluginConfig, func(of config.PluginConfig) bool { return of.Name == each.Name })
		var arguments config.PluginConfig
		if at >= 0 {
			arguments = profile.PluginConfig[at]
		}
		plugin, err := registry[each.Name](ctx, arguments.Args, all)
		if err != nil {
			return nil, err
		}
		found.plugins = append(found.plugins, plugin)
	}
	return found, nil
}

// judge goes the way of the scheduler's schedulePod, but looks at every node, and asks each plugin of each node.
func (j *judge) judge(ctx context.Context, pod *core.Pod) (*answer, error) {
	state := scheduling.NewCycleState()
	fit := &scheduling.FitError{Pod: pod, NumAllNodes: len(j.nodes)}
	fit.Diagnosis.NodeToStatus = scheduling.NewDefaultNodeToStatus()
	found := &answer{
		Refusals: map[string]refusal{},
		Totals:   map[string]int64{},
		Filters:  map[string]map[string][]string{},
		Scores:   map[string]map[string]score{},
	}
	looked, status, by := j.framework.RunPreFilterPlugins(ctx, state, pod)
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
	for _, node := range j.nodes {
		info, err := j.snapshot.Get(node.Name)
		if err != nil {
			return nil, err
		}
		if err := j.ask(ctx, state, pod, info, found); err != nil {
			return nil, err
		}
		status := notLookedAt(by)
		if looked.AllNodes() || looked.NodeNames.Has(node.Name) {
			status = j.framework.RunFilterPlugins(ctx, state, pod, info)
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
	if err := j.total(ctx, state.Clone(), pod, feasible, found); err != nil {
		return nil, err
	}
	return found, j.score(ctx, state, pod, feasible, found)
}

// ask has each plugin that filters look at a node, whatever the others say of it.
func (j *judge) ask(
	ctx context.Context, state framework.CycleState, pod *core.Pod, node framework.NodeInfo, found *answer,
) error {
	for _, each := range j.plugins {
		plugin, filters := each.(framework.FilterPlugin)
		if !filters || state.GetSkipFilterPlugins().Has(each.Name()) {
			continue
		}
		if found.Filters[each.Name()] == nil {
			found.Filters[each.Name()] = map[string][]string{}
		}
		switch status := plugin.Filter(ctx, state, pod, node); {
		case status.IsSuccess():
		case status.IsRejected():
			found.Filters[each.Name()][node.Node().Name] = status.Reasons()
		default:
			return fmt.Errorf("%s: %w", each.Name(), status.AsError())
		}
	}
	return nil
}

// total is what the framework makes of all scores.
func (j *judge) total(
	ctx context.Context, state framework.CycleState, pod *core.Pod, nodes []framework.NodeInfo, found *answer,
) error {
	if status := j.framework.RunPreScorePlugins(ctx, state, pod, nodes); !status.IsSuccess() {
		return status.AsError()
	}
	scores, status := j.framework.RunScorePlugins(ctx, state, pod, nodes)
	for _, node := range scores {
		found.Totals[node.Name] = node.TotalScore
	}
	return status.AsError()
}

// score has each plugin score the nodes that can take the pod.
func (j *judge) score(
	ctx context.Context, state framework.CycleState, pod *core.Pod, nodes []framework.NodeInfo, found *answer,
) error {
	for _, each := range j.plugins {
		plugin, scores := each.(framework.ScorePlugin)
		if !scores {
			continue
		}
		if first, prepares := each.(framework.PreScorePlugin); prepares {
			if status := first.PreScore(ctx, state, pod, nodes); status.IsSkip() {
				continue
			} else if !status.IsSuccess() {
				return fmt.Errorf("%s: %w", each.Name(), status.AsError())
			}
		}
		list := make(framework.NodeScoreList, len(nodes))
		for at, node := range nodes {
			raw, status := plugin.Score(ctx, state, pod, node)
			if !status.IsSuccess() {
				return fmt.Errorf("%s: %w", each.Name(), status.AsError())
			}
			list[at] = framework.NodeScore{Name: node.Node().Name, Score: raw}
		}
		normalised := slices.Clone(list)
		if extensions := plugin.ScoreExtensions(); extensions != nil {
			if status := extensions.NormalizeScore(ctx, state, pod, normalised); !status.IsSuccess() {
				return fmt.Errorf("%s: %w", each.Name(), status.AsError())
			}
		}
		found.Scores[each.Name()] = map[string]score{}
		for at, node := range list {
			found.Scores[each.Name()][node.Name] = score{node.Score, normalised[at].Score}
		}
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
