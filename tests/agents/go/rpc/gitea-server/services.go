package main

import (
	"context"
	"fmt"
	"strconv"

	"agents/rpc/internal/queue"

	pingv1 "code.gitea.io/actions-proto-go/ping/v1"
	runnerv1 "code.gitea.io/actions-proto-go/runner/v1"
	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/structpb"
)

type pings struct{}

func (pings) Ping(
	_ context.Context, request *connect.Request[pingv1.PingRequest],
) (*connect.Response[pingv1.PingResponse], error) {
	return connect.NewResponse(&pingv1.PingResponse{Data: request.Msg.Data}), nil
}

type runners struct {
	jobs *queue.Queue
}

func (*runners) Register(
	_ context.Context, request *connect.Request[runnerv1.RegisterRequest],
) (*connect.Response[runnerv1.RegisterResponse], error) {
	asked := request.Msg
	return connect.NewResponse(&runnerv1.RegisterResponse{Runner: &runnerv1.Runner{
		Id: 1, Uuid: "test", Token: "test", Name: asked.Name, Version: asked.Version,
		Labels: asked.Labels, Ephemeral: asked.Ephemeral,
	}}), nil
}

func (*runners) Declare(
	_ context.Context, request *connect.Request[runnerv1.DeclareRequest],
) (*connect.Response[runnerv1.DeclareResponse], error) {
	return connect.NewResponse(&runnerv1.DeclareResponse{Runner: &runnerv1.Runner{
		Id: 1, Name: "test", Version: request.Msg.Version, Labels: request.Msg.Labels,
	}}), nil
}

// FetchTask answers at once, as Gitea does. The job counts as started when it is handed over.
func (r *runners) FetchTask(
	context.Context, *connect.Request[runnerv1.FetchTaskRequest],
) (*connect.Response[runnerv1.FetchTaskResponse], error) {
	job, found := r.jobs.TryTake()
	if !found {
		return connect.NewResponse(&runnerv1.FetchTaskResponse{}), nil
	}
	task, err := taskOf(job)
	if err != nil {
		return nil, err
	}
	r.jobs.Hear(job.ID, queue.Started)
	return connect.NewResponse(&runnerv1.FetchTaskResponse{Task: task}), nil
}

func taskOf(job queue.Job) (*runnerv1.Task, error) {
	id, err := strconv.ParseInt(job.ID, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("job id: %w", err)
	}
	about, err := structpb.NewStruct(map[string]any{
		"job":        "test",
		"run_id":     job.ID,
		"event_name": "push",
		"event":      map[string]any{},
		// A repository each: jobs of one share a working directory.
		"repository": "owner/repository-" + job.ID,
		"ref":        "refs/heads/main",
		"sha":        "0000000000000000000000000000000000000000",

		"gitea_default_actions_url": "https://github.com",
	})
	if err != nil {
		return nil, err
	}
	workflow := fmt.Sprintf(
		"on: push\njobs:\n  test:\n    runs-on: x\n    steps:\n      - run: exec %q\n        shell: sh\n",
		job.Script)
	return &runnerv1.Task{
		Id: id, WorkflowPayload: []byte(workflow), Context: about, Secrets: map[string]string{},
	}, nil
}

func (r *runners) UpdateTask(
	_ context.Context, request *connect.Request[runnerv1.UpdateTaskRequest],
) (*connect.Response[runnerv1.UpdateTaskResponse], error) {
	state := request.Msg.State
	words := map[runnerv1.Result]queue.Word{
		runnerv1.Result_RESULT_SUCCESS:   queue.Passed,
		runnerv1.Result_RESULT_FAILURE:   queue.Failed,
		runnerv1.Result_RESULT_CANCELLED: queue.Canceled,
	}
	if word, ended := words[state.Result]; ended {
		r.jobs.Hear(strconv.FormatInt(state.Id, 10), word)
	}
	return connect.NewResponse(&runnerv1.UpdateTaskResponse{
		State: &runnerv1.TaskState{Id: state.Id, Result: state.Result},
	}), nil
}

func (*runners) UpdateLog(
	_ context.Context, request *connect.Request[runnerv1.UpdateLogRequest],
) (*connect.Response[runnerv1.UpdateLogResponse], error) {
	read := request.Msg.Index + int64(len(request.Msg.Rows))
	return connect.NewResponse(&runnerv1.UpdateLogResponse{AckIndex: read}), nil
}
