package reapi

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// rawCodec sends and receives bytes as they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

var _ encoding.CodecV2 = rawCodec{}

// callRaw sends one message to a method, whatever its kind, and returns how the
// call ended.
func callRaw(ctx context.Context, conn *grpc.ClientConn, method string, message []byte) error {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method, grpc.ForceCodecV2(rawCodec{}))
	if err != nil {
		return err
	}
	if err := stream.SendMsg(message); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		var reply []byte
		if err := stream.RecvMsg(&reply); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// methods returns the full names of what a grid serves.
func (g *grid) methods(t testing.TB) (names []string) {
	t.Helper()
	s := grpc.NewServer(ServerOptions()...)
	if err := Register(s, Options{Instance: "main", CAS: g.store, Results: g.results, Scheduler: g.scheduler, Proposer: noProposer{}, Streams: g.streams}); err != nil {
		t.Fatal(err)
	}
	for service, info := range s.GetServiceInfo() {
		for _, m := range info.Methods {
			names = append(names, "/"+service+"/"+m.Name)
		}
	}
	return names
}

func TestNoMessageCrashesAnyMethod(t *testing.T) {
	g := newGrid(t)
	all := g.methods(t)
	if len(all) < 20 {
		t.Fatalf("only %d methods: %v", len(all), all)
	}
	messages := map[string][]byte{
		"nothing":              nil,
		"garbage":              []byte("\xff\xff\xff garbage"),
		"an open field":        {0x0a, 0x7f},
		"a wrong wire type":    {0x08, 0x01, 0x10, 0x01, 0x18, 0x01},
		"an endless varint":    []byte(strings.Repeat("\xff", 30)),
		"field 0":              {0x00, 0x01},
		"empty messages":       {0x0a, 0x00, 0x12, 0x00, 0x1a, 0x00, 0x22, 0x00},
		"an open group":        {0x0b, 0x0b, 0x0b},
		"not UTF-8":            {0x0a, 0x02, 0xff, 0xfe},
		"the right instance":   {0x0a, 0x04, 'm', 'a', 'i', 'n'},
		"a long instance name": append([]byte{0x0a, 0x80, 0x80, 0x40}, strings.Repeat("x", 1<<20)...),
	}
	for _, method := range all {
		for name, message := range messages {
			err := callRaw(t.Context(), g.conn, method, message)
			want := codes.InvalidArgument
			switch {
			case strings.HasSuffix(method, "SplitBlob"), strings.HasSuffix(method, "SpliceBlob"), strings.HasSuffix(method, "ChunkMapping"):
				want = codes.Unimplemented
			case name == "the right instance" && oneOf(method, "GetCapabilities", "FindMissingBlobs", "BatchUpdateBlobs", "BatchReadBlobs", "CreateLogStream"):
				want = codes.OK
			}
			if got := status.Code(err); got != want && !(want == codes.Unimplemented && got == codes.InvalidArgument) {
				t.Errorf("%s to %s: got %v, want %v", name, method, err, want)
			}
		}
	}
	if text := g.logged.String(); text != "" {
		t.Errorf("logged: %s", text)
	}
}

func oneOf(method string, names ...string) bool {
	for _, n := range names {
		if strings.HasSuffix(method, "/"+n) {
			return true
		}
	}
	return false
}

func TestAPanicIsAnsweredAndLogged(t *testing.T) {
	log := new(strings.Builder)
	conn := servePanics(t, log)
	for _, method := range []string{"/test.Panics/Unary", "/test.Panics/Stream"} {
		err := callRaw(t.Context(), conn, method, nil)
		if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", method, err)
		}
		if !strings.Contains(log.String(), "secret") || !strings.Contains(log.String(), method) {
			t.Errorf("%s: logged %s", method, log)
		}
	}
}
