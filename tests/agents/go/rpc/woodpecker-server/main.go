// woodpecker-server is as much of the Woodpecker server as its agents (v1.0) need to get
// workflows and to report them. Each job is a workflow of one step for the `local` backend.
package main

import (
	"log"

	"agents/rpc/internal/queue"

	"go.woodpecker-ci.org/woodpecker/pipeline/rpc/proto"
	"google.golang.org/grpc"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

// In bytes. An agent that cannot send a line does not read on, and its job stops.
const longestLine = 64 << 20

func run() error {
	jobs := queue.New()
	listener, err := queue.Listen()
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(longestLine))
	proto.RegisterWoodpeckerAuthServer(server, auth{})
	proto.RegisterWoodpeckerServer(server, newAgents(jobs))
	go server.Serve(listener)
	return jobs.Serve(listener)
}
