package main

import (
	"context"
	"sync"

	"agents/rpc/internal/queue"

	"go.woodpecker-ci.org/woodpecker/pipeline/rpc/proto"
)

// What the agent's exit code means that ends a workflow by a signal.
const canceled = 137

type auth struct {
	proto.UnimplementedWoodpeckerAuthServer
}

func (auth) Auth(context.Context, *proto.AuthRequest) (*proto.AuthResponse, error) {
	return &proto.AuthResponse{Status: "ok", AgentId: 1, AccessToken: "test"}, nil
}

type agents struct {
	proto.UnimplementedWoodpeckerServer
	jobs *queue.Queue

	mutex sync.Mutex
	// Closed at the end of the workflow.
	ends map[string]chan struct{}
}

func newAgents(jobs *queue.Queue) *agents {
	return &agents{jobs: jobs, ends: map[string]chan struct{}{}}
}

func (*agents) Version(context.Context, *proto.Empty) (*proto.VersionResponse, error) {
	return &proto.VersionResponse{GrpcVersion: proto.Version, ServerVersion: "test"}, nil
}

func (*agents) RegisterAgent(
	context.Context, *proto.RegisterAgentRequest,
) (*proto.RegisterAgentResponse, error) {
	return &proto.RegisterAgentResponse{AgentId: 1}, nil
}

func (*agents) ReportHealth(
	context.Context, *proto.ReportHealthRequest,
) (*proto.Empty, error) {
	return &proto.Empty{}, nil
}

// Next waits for a workflow as long as the agent does.
func (a *agents) Next(ctx context.Context, _ *proto.NextRequest) (*proto.NextResponse, error) {
	job, found := a.jobs.Take(ctx)
	if !found {
		return nil, ctx.Err()
	}
	workflow, err := workflowOf(job)
	if err != nil {
		return nil, err
	}
	a.end(job.ID)
	return &proto.NextResponse{Pipeline: workflow}, nil
}

func (a *agents) Init(_ context.Context, request *proto.InitRequest) (*proto.Empty, error) {
	a.jobs.Hear(request.Id, queue.Started)
	return &proto.Empty{}, nil
}

// Wait answers when the workflow is over; an error would cancel it.
func (a *agents) Wait(ctx context.Context, request *proto.WaitRequest) (*proto.Empty, error) {
	select {
	case <-a.end(request.Id):
		return &proto.Empty{}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (a *agents) Done(_ context.Context, request *proto.DoneRequest) (*proto.Empty, error) {
	word := queue.Failed
	switch state := request.State; {
	case state.ExitCode == 0 && state.Error == "":
		word = queue.Passed
	case state.ExitCode == canceled:
		word = queue.Canceled
	}
	a.jobs.Hear(request.Id, word)
	a.finish(request.Id)
	return &proto.Empty{}, nil
}

// finish may be told more than once: an agent repeats what was not answered.
func (a *agents) finish(id string) {
	end := a.end(id)
	a.mutex.Lock()
	defer a.mutex.Unlock()
	select {
	case <-end:
	default:
		close(end)
	}
}

func (*agents) Extend(context.Context, *proto.ExtendRequest) (*proto.Empty, error) {
	return &proto.Empty{}, nil
}

func (*agents) Update(context.Context, *proto.UpdateRequest) (*proto.Empty, error) {
	return &proto.Empty{}, nil
}

func (*agents) Log(context.Context, *proto.LogRequest) (*proto.Empty, error) {
	return &proto.Empty{}, nil
}

func (a *agents) end(id string) chan struct{} {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if a.ends[id] == nil {
		a.ends[id] = make(chan struct{})
	}
	return a.ends[id]
}
