package sim

import (
	"context"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/raftfsm"
)

// plant is a bug that a test puts between the parts, to prove that it is found.
// The zero value is none.
type plant struct {
	proposer      func(*life, raftfsm.Proposer) raftfsm.Proposer
	cache         func(*node, raftfsm.ReplicatedCache) raftfsm.ReplicatedCache
	bots          func(*life, *term) botspb.BotsServer
	termBegan     func(*life, *term)
	noBarrier     bool                          // a leader begins before it has applied what was committed
	staleReads    bool                          // a node answers from its stores without asking the leader
	blankVotes    bool                          // a node whose disk was lost comes back as if nothing had been
	loseResults   bool                          // workers forget a result that was not acknowledged
	marksUnsynced bool                          // a marker is written before the stores are durable
	misfortune    func(context.Context, *world) // instead of random faults
}
