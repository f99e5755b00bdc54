package raftfsm

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

func encoded(t testing.TB, c *commandpb.Command) []byte {
	t.Helper()
	b, err := Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// withField returns a message with a field that nobody knows.
func withField(m proto.Message) []byte {
	b, _ := proto.Marshal(m)
	return protowire.AppendVarint(protowire.AppendTag(b, 999, protowire.VarintType), 1)
}

func TestDecodeRefusesWhatItDoesNotKnow(t *testing.T) {
	entry := func(number protowire.Number, message []byte) []byte {
		e := protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), message)
		head := encoded(t, &commandpb.Command{Version: Version})
		return protowire.AppendBytes(protowire.AppendTag(head, 3, protowire.BytesType), e)
	}
	deep := &queuepb.Submit{JobId: "j"}
	deepBytes, _ := proto.Marshal(deep)
	deepBytes = protowire.AppendBytes(protowire.AppendTag(deepBytes, 5, protowire.BytesType), withField(&queuepb.Property{Name: "a"}))
	for name, c := range map[string]struct {
		in   []byte
		want error
	}{
		"no version":               {nil, ErrUnknownCommand},
		"a later version":          {encoded(t, &commandpb.Command{Version: Version + 1}), ErrUnknownCommand},
		"a field of the command":   {withField(&commandpb.Command{Version: Version}), ErrUnknownCommand},
		"a kind of entry":          {entry(99, nil), ErrUnknownCommand},
		"an entry of nothing":      {encoded(t, &commandpb.Command{Version: Version, Entries: []*commandpb.Entry{{}}}), ErrUnknownCommand},
		"a field of an entry":      {entry(1, withField(&queuepb.Submit{})), ErrUnknownCommand},
		"a field of a list's item": {entry(1, deepBytes), ErrUnknownCommand},
		"no message":               {[]byte{0xff, 0xff}, ErrCorruptCommand},
		"text that is no UTF-8":    {entry(1, []byte{0x0a, 1, 0xff}), ErrCorruptCommand},
	} {
		if _, err := Decode(c.in); !errors.Is(err, c.want) {
			t.Errorf("%s: %v; want %v", name, err, c.want)
		}
	}
	if _, err := Decode(entry(1, []byte{0x0a, 1, 'j'})); err != nil {
		t.Errorf("a known one: %v", err)
	}
}

// TestEveryKindOfEntryIsApplied: a kind that is in the proto and not in the code
// would stop the node. The messages are empty, so they may be refused.
func TestEveryKindOfEntryIsApplied(t *testing.T) {
	m := NewMachine(MachineOptions{Queue: openQueue(t, t.TempDir()), ActionCache: &fakeCache{}})
	kinds := (&commandpb.Entry{}).ProtoReflect().Descriptor().Oneofs().ByName("entry").Fields()
	for i := range kinds.Len() {
		e := &commandpb.Entry{}
		e.ProtoReflect().Set(kinds.Get(i), e.ProtoReflect().NewField(kinds.Get(i)))
		if _, err := m.Apply(t.Context(), m.Next(), []*commandpb.Command{{Version: Version, Entries: []*commandpb.Entry{e}}}); err != nil {
			t.Errorf("%s: %v", kinds.Get(i).Name(), err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(encoded(f, &commandpb.Command{Version: Version, TimeNanos: 1, Entries: []*commandpb.Entry{
		Submit(submission("a")), Complete(completion("a", 1, "s")), Prune(&queuepb.Prune{Limit: 1}),
		ActionCachePut(&commandpb.ActionCachePut{Instance: "main"}), CloseSession(&queuepb.CloseSession{Keep: []string{"a"}}),
	}}))
	f.Add(withField(&commandpb.Command{Version: Version}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrUnknownCommand) && !errors.Is(err, ErrCorruptCommand) {
				t.Fatal(err)
			}
			return
		}
		again, err := Decode(encoded(t, c))
		if err != nil || !proto.Equal(c, again) {
			t.Fatalf("%v became %v, %v", c, again, err)
		}
	})
}

// FuzzApply: what can be decoded can be applied: refused or not, the stores stay
// whole.
func FuzzApply(f *testing.F) {
	f.Add(encoded(f, &commandpb.Command{Version: Version, Entries: []*commandpb.Entry{
		OpenSession(&queuepb.OpenSession{SessionId: "s", BotId: "b"}), Submit(submission("a")),
		Assign(&queuepb.Assign{JobId: "job-a", Attempt: 1, SessionId: "s"}), Complete(completion("a", 1, "s")),
		CancelOperation(&queuepb.CancelOperation{OperationId: "op-a"}), DeleteOperation(&queuepb.DeleteOperation{OperationId: "op-a"}),
		UpdateSession(&queuepb.UpdateSession{SessionId: "s", Draining: true}), CloseSession(&queuepb.CloseSession{SessionId: "s"}),
		Requeue(&queuepb.Requeue{JobId: "job-a"}), Attach(&queuepb.Attach{}), ActionCacheEvict(&commandpb.ActionCacheEvict{}),
	}}))
	q := openQueue(f, f.TempDir())
	m := NewMachine(MachineOptions{Queue: q, ActionCache: &fakeCache{}})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Decode(b)
		if err != nil {
			return
		}
		if _, err := m.Apply(t.Context(), m.Next(), []*commandpb.Command{c}); err != nil {
			t.Fatal(err)
		}
		if err := q.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}
