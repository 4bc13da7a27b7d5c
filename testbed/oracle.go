package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	core "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/scheduler/metrics"
)

// question is a cluster as the API server stores it, and pods that are to be placed in it, each as if it came alone.
type question struct {
	cluster
	Pending []*core.Pod `json:"pending"`
}

// answer is what the scheduler says of one pod.
type answer struct {
	Message  string                         `json:"message"`           // what the FailedScheduling event would say
	Refused  *refusal                       `json:"refused,omitempty"` // whatever the node
	Refusals map[string]refusal             `json:"refusals"`          // by node
	Totals   map[string]int64               `json:"totals"`            // by node that can take the pod
	Filters  map[string]map[string][]string `json:"filters"`           // by plugin that looked at nodes, by node it refuses: reasons
	Scores   map[string]map[string]score    `json:"scores"`            // by plugin that has a say, by node
}

// refusal is what the first plugin that a node fails says.
type refusal struct {
	Plugin  string   `json:"plugin"`
	Reasons []string `json:"reasons"`
}

// score is a plugin's for a node: as computed, and normalised to 0..100. A total is the sum of the latter times weights.
type score struct {
	Raw        int64 `json:"raw"`
	Normalised int64 `json:"normalised"`
}

// runOracle answers questions with kube-scheduler's own default plugins: each JSON value on stdin with a line on stdout,
// a list with an answer for each pending pod.
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
		found, err := answerOne(profile, &asked)
		if err != nil {
			return fmt.Errorf("question %d: %w", number, err)
		}
		if err := encoder.Encode(found); err != nil {
			return err
		}
	}
}

func answerOne(profile *profile, asked *question) ([]*answer, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	judge, err := newJudge(ctx, profile, &asked.cluster)
	if err != nil {
		return nil, err
	}
	found := make([]*answer, len(asked.Pending))
	for at, pod := range asked.Pending {
		if found[at], err = judge.judge(ctx, pod); err != nil {
			return nil, fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
	}
	return found, nil
}
