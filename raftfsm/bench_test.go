package raftfsm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// BenchmarkFsync is the floor: what one append of 4 KiB and fdatasync costs on
// this disk.
func BenchmarkFsync(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "floor"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	for b.Loop() {
		if _, err := f.Write(page); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkJobs runs jobs through submit, assign and complete, as proposers
// that each wait for every step; one iteration is one job.
func BenchmarkJobs(b *testing.B) {
	for _, proposers := range []int{1, 32, 128} {
		for _, kind := range []string{"queue", "synced-cache"} {
			b.Run(fmt.Sprintf("%s/%d", kind, proposers), func(b *testing.B) {
				dir := b.TempDir()
				cache := &fakeCache{}
				if kind == "synced-cache" {
					f, err := os.Create(filepath.Join(dir, "cache"))
					if err != nil {
						b.Fatal(err)
					}
					defer f.Close()
					cache.log = f
				}
				benchJobs(b, openLocal(b, LocalOptions{Queue: openQueue(b, dir), ActionCache: cache}), proposers)
			})
		}
	}
}

func benchJobs(b *testing.B, l *Local, proposers int) {
	ctx := context.Background()
	propose := func(e *commandpb.Entry) {
		r, err := l.Propose(ctx, e)
		if err != nil {
			b.Error(err)
		} else if r.Errors[0] != nil {
			b.Error(r.Errors[0])
		}
	}
	propose(OpenSession(&queuepb.OpenSession{SessionId: "s", BotId: "bot"}))
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range proposers {
		wg.Go(func() {
			for next.Add(1) <= int64(b.N) {
				name := uuid.NewString()
				propose(Submit(submission(name)))
				propose(Assign(&queuepb.Assign{JobId: "job-" + name, Attempt: 1, SessionId: "s"}))
				propose(Complete(completion(name, 1, "s")))
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}
