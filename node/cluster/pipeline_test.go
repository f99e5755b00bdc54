package cluster

import (
	"testing"
	"testing/synctest"

	"github.com/hashicorp/raft"
)

// narrow is a pipeline like that of raft's network transport: an answer waits
// until somebody takes it, and the next request for that.
type narrow struct {
	raft.AppendPipeline
	answers chan raft.AppendFuture
	sent    int
}

func (n *narrow) AppendEntries(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	n.sent++
	n.answers <- nil
	return nil, nil
}

func (n *narrow) Consumer() <-chan raft.AppendFuture { return n.answers }
func (n *narrow) Close() error                       { return nil }

func TestEntriesCanBeSentThoughNobodyTakesTheAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which ends only if no goroutine is left
		inner := &narrow{answers: make(chan raft.AppendFuture)}
		p := newPipeline(inner)
		for range 100 {
			if _, err := p.AppendEntries(nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		for range 100 { // those that take them late miss none
			<-p.Consumer()
		}
		if err := p.Close(); err != nil || inner.sent != 100 {
			t.Error(err, inner.sent)
		}
		_ = p.Close()
	})
}
