package bots

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
)

func TestABotNamesTheStreamsOfItsLeases(t *testing.T) {
	g := newGrid(t)
	op := g.submit("a")
	b := g.wantLeases(g.create(bot("b1", 1)), 1)
	attempt := b.Leases[0].Requirements.Configs[1]
	if attempt.Key != configAttempt {
		t.Fatalf("configs: %v", b.Leases[0].Requirements)
	}
	plain := proto.CloneOf(b.Leases[0])
	name := func(attempt, stdout, stderr string) {
		t.Helper()
		l := proto.CloneOf(plain)
		l.Requirements.Configs = append(l.Requirements.Configs,
			&botspb.Worker_Config{Key: configAttempt, Value: attempt}, // the last counts
			&botspb.Worker_Config{Key: configStdout, Value: stdout}, &botspb.Worker_Config{Key: configStderr, Value: stderr})
		b.Leases = []*botspb.Lease{l}
		b = g.wantLeases(g.update(b), 1)
	}
	want := func(what, stdout, stderr string) {
		t.Helper()
		if st := g.state(op); st.StdoutStream != stdout || st.StderrStream != stderr {
			t.Errorf("%s: streams %q and %q", what, st.StdoutStream, st.StderrStream)
		}
	}
	name(attempt.Value, "elsewhere/logstreams/1", "main/logstreams/2")
	want("of another instance", "", "")
	name("999", "main/logstreams/1", "main/logstreams/2")
	want("of another attempt", "", "")
	name(attempt.Value, "main/logstreams/1", "main/logstreams/2")
	want("as it should", "main/logstreams/1", "main/logstreams/2")
	b.Leases = []*botspb.Lease{plain}
	b = g.wantLeases(g.update(b), 1)
	want("taken back", "", "")
}
