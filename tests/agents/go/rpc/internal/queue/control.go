package queue

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

// Serve offers the queue to the test that started this program: `POST /offer` takes a [Job],
// `GET /heard` answers with [id, word] pairs. It prints one JSON line with the addresses of the
// agents' listener and of this one, and returns when standard input ends, as it does with the
// test.
func (q *Queue) Serve(agents net.Listener) error {
	control, err := Listen()
	if err != nil {
		return err
	}
	routes := http.NewServeMux()
	routes.HandleFunc("POST /offer", q.offer)
	routes.HandleFunc("GET /heard", q.tell)
	failed := make(chan error, 1)
	go func() { failed <- http.Serve(control, routes) }()
	addresses := map[string]string{
		"agents":  agents.Addr().String(),
		"control": control.Addr().String(),
	}
	if err := json.NewEncoder(os.Stdout).Encode(addresses); err != nil {
		return err
	}
	over := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(over)
	}()
	select {
	case err := <-failed:
		return fmt.Errorf("control: %w", err)
	case <-over:
		return nil
	}
}

// Listen takes a free port of the loopback interface.
func Listen() (net.Listener, error) {
	return net.Listen("tcp", "127.0.0.1:0")
}

func (q *Queue) offer(answer http.ResponseWriter, request *http.Request) {
	var job Job
	if err := json.NewDecoder(request.Body).Decode(&job); err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	q.Offer(job)
	answer.WriteHeader(http.StatusNoContent)
}

func (q *Queue) tell(answer http.ResponseWriter, _ *http.Request) {
	json.NewEncoder(answer).Encode(q.Heard())
}
