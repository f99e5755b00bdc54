package raftfsm

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
)

// BenchmarkProposals submits jobs, each proposer one after the other: alone, and
// through three members in this process, whose logs and queues lie on one disk.
func BenchmarkProposals(b *testing.B) {
	for _, proposers := range []int{1, 32, 256} {
		b.Run(fmt.Sprintf("local/%d", proposers), func(b *testing.B) {
			l := openLocal(b, LocalOptions{Queue: openQueue(b, b.TempDir())})
			benchProposals(b, l.Propose, proposers)
		})
		b.Run(fmt.Sprintf("raft/%d", proposers), func(b *testing.B) {
			ms := formed(b, 3, patient)
			leader := leaderOf(b, ms).raft
			before := leader.Status().LastLog
			benchProposals(b, leader.Propose, proposers)
			b.ReportMetric(float64(b.N)/float64(leader.Status().LastLog-before), "commands/entry")
		})
	}
}

// patient members do not change their leader because the machine is busy.
func patient(o *RaftOptions) { o.ElectionTimeout = 2 * time.Second }

func benchProposals(b *testing.B, propose func(context.Context, ...*commandpb.Entry) (Result, error), proposers int) {
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range proposers {
		wg.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if r, err := propose(context.Background(), Submit(submission(uuid.NewString()))); err != nil || r.Errors[0] != nil {
					b.Error(err, r.Errors)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "proposals/s")
}

// BenchmarkReadIndex asks the followers for the leader's index.
func BenchmarkReadIndex(b *testing.B) {
	for _, readers := range []int{1, 32} {
		b.Run(fmt.Sprint(readers), func(b *testing.B) {
			leader := leaderOf(b, formed(b, 3, patient)).raft
			b.SetParallelism(readers)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := leader.ReadIndex(context.Background()); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
