package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
	"sigs.k8s.io/kwok/kustomize/stage/node/fast"
	heartbeat "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
	pod "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
	"sigs.k8s.io/kwok/pkg/config"
	kwok "sigs.k8s.io/kwok/pkg/kwok/cmd"
	"sigs.k8s.io/kwok/pkg/log"
	"sigs.k8s.io/kwok/pkg/utils/signals"
)

// runKwok reads the flags that kwok has for all of its commands (-v, --config) before the command itself.
func runKwok() int {
	// Commands take the flags of this set for theirs, and other components of the binary have put some there.
	pflag.CommandLine = pflag.NewFlagSet("kwok", pflag.ContinueOnError)
	flags := pflag.NewFlagSet("global", pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.Usage = func() {}
	ctx, logger := log.InitFlags(signals.SetupSignalContext(), flags)
	ctx, err := config.InitFlags(ctx, flags)
	if err == nil {
		command := kwok.NewCommand(ctx)
		command.PersistentFlags().AddFlagSet(flags)
		err = command.ExecuteContext(ctx)
	}
	if err != nil {
		logger.Error("kwok ends", "err", err)
		return 1
	}
	return 0
}

// runStages writes the lives of nodes and pods that kwok ships into the folder given: kwok has none unless told.
func runStages() int {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: testbed-stages FOLDER")
		return 2
	}
	stages := map[string]string{
		"node-initialize.yaml":           fast.DefaultNodeInit,
		"node-heartbeat-with-lease.yaml": heartbeat.DefaultNodeHeartbeatWithLease,
		"pod-ready.yaml":                 pod.DefaultPodReady,
		"pod-complete.yaml":              pod.DefaultPodComplete,
		"pod-delete.yaml":                pod.DefaultPodDelete,
	}
	if err := os.MkdirAll(os.Args[1], 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for name, text := range stages {
		if err := os.WriteFile(filepath.Join(os.Args[1], name), []byte(text), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}
