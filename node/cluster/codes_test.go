package cluster

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
	"github.com/bgrid-node/bgrid-node/raftfsm"
)

func overTheWire(t *testing.T, reply *peerpb.ProposeReply) *peerpb.ProposeReply {
	t.Helper()
	b, err := proto.Marshal(reply)
	if err != nil {
		t.Fatal(err)
	}
	back := &peerpb.ProposeReply{}
	if err := proto.Unmarshal(b, back); err != nil {
		t.Fatal(err)
	}
	return back
}

func TestErrorsKeepTheirMeaningOverTheWire(t *testing.T) {
	for _, s := range sentinels() {
		in := raftfsm.Result{Index: 77, Time: time.Unix(1, 2), Errors: []error{nil, fmt.Errorf("entry 1: %w", s.err)}}
		out, err := resultOf(overTheWire(t, proposeReply(in, nil)), 2)
		if err != nil || out.Index != in.Index || !out.Time.Equal(in.Time) || out.Errors[0] != nil {
			t.Errorf("%v: result %+v: %v", s.err, out, err)
		}
		if !errors.Is(out.Errors[1], s.err) || out.Errors[1].Error() != in.Errors[1].Error() {
			t.Errorf("of an entry: %v became %v", in.Errors[1], out.Errors[1])
		}
		for _, notProposed := range []bool{false, true} {
			failure := fmt.Errorf("propose: %w", s.err)
			if notProposed {
				failure = fmt.Errorf("propose: %w: %w", raftfsm.ErrNotProposed, s.err)
			}
			_, err := resultOf(overTheWire(t, proposeReply(raftfsm.Result{}, failure)), 2)
			if !errors.Is(err, s.err) || errors.Is(err, raftfsm.ErrNotProposed) != notProposed {
				t.Errorf("of a proposal: %v became %v", failure, err)
			}
		}
	}
	if _, err := resultOf(overTheWire(t, proposeReply(raftfsm.Result{}, errors.New("anything"))), 1); err == nil || err.Error() != "propose: anything" {
		t.Errorf("an error of no kind: %v", err)
	}
	if _, err := resultOf(&peerpb.ProposeReply{Index: 5}, 1); err == nil {
		t.Error("an answer without a word of the entry is taken for a success")
	}
}
