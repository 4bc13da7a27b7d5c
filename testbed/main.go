// One binary that is every component of a Kubernetes control plane, and its oracle; the name it is started by picks which.
//
// The components share nearly all of their code, so one binary is a third of the size and of the linking time of seven.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"golang.org/x/sys/unix"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// components maps the name in argv[0] to a function that returns the exit code.
var components = map[string]func() int{
	"etcd":                    func() int { etcdmain.Main(os.Args); return 0 },
	"kube-apiserver":          func() int { return cli.Run(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() int { return cli.Run(manager.NewControllerManagerCommand()) },
	"kube-scheduler":          func() int { return cli.Run(scheduler.NewSchedulerCommand()) },
	"kubelet":                 func() int { return cli.Run(kubelet.NewKubeletCommand(context.Background())) },
	"kubectl":                 func() int { return cli.Run(kubectl.NewDefaultKubectlCommand()) },
	"kwok":                    runKwok,
	"neaptide-oracle":         runOracle,
	"testbed-pki":             runPKI,
	"testbed-stages":          runStages,
}

func main() {
	name := filepath.Base(os.Args[0])
	run, known := components[name]
	if !known {
		names := make([]string, 0, len(components))
		for each := range components {
			names = append(names, each)
		}
		slices.Sort(names)
		fmt.Fprintf(os.Stderr, "%s is no component; start this binary through a link named %s\n", name, strings.Join(names, ", "))
		os.Exit(2)
	}
	if leash := os.Getenv("TESTBED_LEASH"); leash != "" {
		if err := endWith(leash); err != nil {
			fmt.Fprintf(os.Stderr, "%s: TESTBED_LEASH=%s: %v\n", name, leash, err)
			os.Exit(2)
		}
	}
	os.Exit(run())
}

// endWith kills this process as soon as the process of that number has ended, however it ends: tests that are killed
// leave no control plane behind.
func endWith(leash string) error {
	pid, err := strconv.Atoi(leash)
	if err != nil {
		return err
	}
	handle, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	go func() {
		ended := []unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}}
		for {
			if count, _ := unix.Poll(ended, -1); count > 0 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
		}
	}()
	return nil
}
