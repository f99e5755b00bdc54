package sched

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

// BenchmarkActions: 8 bots and 32 clients on real stores, durable.
func BenchmarkActions(b *testing.B) {
	for _, stuck := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("unmatchable=%d", stuck), func(b *testing.B) {
			g := newGrid(b, b.TempDir(), nil)
			defer g.close()
			queueUp(g, stuck, []queue.Property{prop("ISA", "vax")})
			ctx, cancel := context.WithCancel(context.Background())
			var bots, clients sync.WaitGroup
			for i := range 8 {
				ses := g.bot(fmt.Sprint(i), 1)
				bots.Go(func() {
					for {
						e, err := ses.Next(ctx)
						if err != nil {
							return
						}
						g.done(ses, e.Assigned)
					}
				})
			}
			var next atomic.Int64
			b.ResetTimer()
			for range 32 {
				clients.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						w, err := g.Watch(ctx, g.submit(sub(fmt.Sprint(i))))
						if err != nil {
							b.Error(err)
							return
						}
						for {
							st, err := w.Next(ctx)
							if err != nil {
								b.Error(err)
							}
							if err != nil || st.Done {
								break
							}
						}
						w.Close()
					}
				})
			}
			clients.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "actions/s")
			cancel()
			bots.Wait()
		})
	}
}

// BenchmarkSubmit: one more job behind many.
func BenchmarkSubmit(b *testing.B) {
	for _, queued := range []int{0, 100_000} {
		b.Run(fmt.Sprintf("queued=%d", queued), func(b *testing.B) {
			g := newGrid(b, fastDir(b), nil)
			defer g.close()
			queueUp(g, queued, linux)
			b.ResetTimer()
			for i := range b.N {
				g.submit(sub(fmt.Sprint("more ", i)))
			}
			b.StopTimer()
		})
	}
}

// queueUp fills the queue with jobs that ask for the properties.
func queueUp(g *grid, n int, props []queue.Property) {
	var wg sync.WaitGroup
	for client := range 100 {
		wg.Go(func() {
			for i := client; i < n; i += 100 {
				x := of(fmt.Sprint("inv", client%7), fmt.Sprint("queued ", i))
				x.Matched = props
				g.submit(x)
			}
		})
	}
	wg.Wait()
}
