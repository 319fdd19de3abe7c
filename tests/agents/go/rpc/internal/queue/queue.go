// Package queue holds the jobs of a fake CI server, and what its agents said of them.
package queue

import (
	"context"
	"sync"
)

// Job is a shell script that an agent is to run.
type Job struct {
	// ID is made of digits.
	ID string `json:"id"`
	// Script is the path of an executable file on this machine.
	Script string `json:"script"`
}

// Word is what the server was told of a job, in the words of the tests' drivers.
type Word string

const (
	Started  Word = "started"
	Passed   Word = "passed"
	Failed   Word = "failed"
	Canceled Word = "canceled"
)

// Queue hands out each job once, in the order of the offers.
type Queue struct {
	mutex   sync.Mutex
	waiting []Job
	// Closed and replaced when a job is offered.
	offered chan struct{}
	heard   [][2]string
}

// New returns an empty queue.
func New() *Queue {
	return &Queue{offered: make(chan struct{}), heard: [][2]string{}}
}

// Offer adds a job.
func (q *Queue) Offer(job Job) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.waiting = append(q.waiting, job)
	close(q.offered)
	q.offered = make(chan struct{})
}

// Take waits for a job until ctx is done. The job is taken even when ctx is done in the same
// moment: as with the real servers, its agent may then never hear of it.
func (q *Queue) Take(ctx context.Context) (Job, bool) {
	for {
		q.mutex.Lock()
		if len(q.waiting) > 0 {
			job := q.waiting[0]
			q.waiting = q.waiting[1:]
			q.mutex.Unlock()
			return job, true
		}
		offered := q.offered
		q.mutex.Unlock()
		select {
		case <-offered:
		case <-ctx.Done():
			return Job{}, false
		}
	}
}

// TryTake takes a job if one waits.
func (q *Queue) TryTake() (Job, bool) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	return q.Take(over)
}

// Hear writes down what an agent said of a job; the same said again is written down once.
func (q *Queue) Hear(id string, word Word) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	said := [2]string{id, string(word)}
	for _, earlier := range q.heard {
		if earlier == said {
			return
		}
	}
	q.heard = append(q.heard, said)
}

// Heard is all that was said, oldest first.
func (q *Queue) Heard() [][2]string {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	return append([][2]string{}, q.heard...)
}
