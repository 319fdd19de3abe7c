// gitea-server is as much of Gitea (or Forgejo) as its Actions runners need to get jobs and to
// report them: the Connect services of code.gitea.io/actions-proto-go. Each job is a workflow of
// one step, for runners with the label `x:host`.
package main

import (
	"log"
	"net/http"

	"agents/rpc/internal/queue"

	"code.gitea.io/actions-proto-go/ping/v1/pingv1connect"
	"code.gitea.io/actions-proto-go/runner/v1/runnerv1connect"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	jobs := queue.New()
	routes := http.NewServeMux()
	services := http.NewServeMux()
	services.Handle(pingv1connect.NewPingServiceHandler(pings{}))
	services.Handle(runnerv1connect.NewRunnerServiceHandler(&runners{jobs: jobs}))
	routes.Handle("/api/actions/", http.StripPrefix("/api/actions", services))
	listener, err := queue.Listen()
	if err != nil {
		return err
	}
	go http.Serve(listener, routes)
	return jobs.Serve(listener)
}
