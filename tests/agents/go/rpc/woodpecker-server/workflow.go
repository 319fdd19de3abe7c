package main

import (
	"encoding/json"

	"agents/rpc/internal/queue"

	"go.woodpecker-ci.org/woodpecker/pipeline/rpc/proto"
)

// What of a backend's configuration the `local` backend reads.
type config struct {
	Stages  []stage  `json:"pipeline"`
	Volumes []volume `json:"volumes"`
}

type stage struct {
	Name  string `json:"name"`
	Steps []step `json:"steps"`
}

type step struct {
	Name        string            `json:"name"`
	UUID        string            `json:"uuid"`
	Type        string            `json:"type"`
	Alias       string            `json:"alias"`
	Image       string            `json:"image"`
	Commands    []string          `json:"commands"`
	Environment map[string]string `json:"environment"`
	OnSuccess   bool              `json:"on_success"`
}

type volume struct {
	Name string `json:"name"`
}

// The backend finds a step's workflow by what their names begin with.
func workflowOf(job queue.Job) (*proto.Pipeline, error) {
	name := "wp_" + job.ID
	payload, err := json.Marshal(config{
		Volumes: []volume{{Name: name + "_default"}},
		Stages: []stage{{Name: name + "_stage_0", Steps: []step{{
			Name: name + "_step_0", UUID: "step-" + job.ID, Type: "commands", Alias: "test",
			Image: "/bin/sh", Commands: []string{"exec '" + job.Script + "'"},
			Environment: map[string]string{
				"CI_REPO": "owner/repository", "CI_PIPELINE_NUMBER": job.ID,
			},
			OnSuccess: true,
		}}}},
	})
	if err != nil {
		return nil, err
	}
	return &proto.Pipeline{Id: job.ID, Timeout: 60, Payload: payload}, nil
}
