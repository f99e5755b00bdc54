package link

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/test/bufconn"

	"github.com/bgrid-node/bgrid-node/node/cluster/peerpb"
)

const testToken = "a token of the tests"

// side is a node of that name and token which admits everybody.
func side(id, token string) *Self {
	return &Self{
		Token: []byte(token),
		Hello: func() *peerpb.Hello { return &peerpb.Hello{NodeId: id, Address: id + ":1"} },
		Admit: func(*peerpb.Hello) error { return nil },
	}
}

// serve accepts on connections in memory and returns how they are dialled.
func serve(t *testing.T, self *Self, log *slog.Logger) (*Server, DialFunc) {
	t.Helper()
	l := bufconn.Listen(1 << 16)
	s, err := Listen(l, self, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestEachKindOfConnectionReachesItsListener(t *testing.T) {
	s, dial := serve(t, side("b", testToken), discard())
	d := Dialer{Self: side("a", testToken), Dial: dial}
	for _, kind := range []Kind{Raft, Member, Open} {
		out, err := d.Connect(t.Context(), "b:1", kind, "b")
		if err != nil {
			t.Fatal(err)
		}
		in, err := s.Listener(kind).Accept()
		if err != nil {
			t.Fatal(err)
		}
		if have := in.RemoteAddr().(Addr).Peer; have.GetNodeId() != "a" || have.GetKind() != kind || out.Peer().GetNodeId() != "b" {
			t.Errorf("peer %v of %v", have, out.Peer())
		}
		go func() { _, _ = out.Write([]byte("what follows")); _ = out.Close() }()
		if b, err := io.ReadAll(in); err != nil || string(b) != "what follows" {
			t.Errorf("after the handshake: %q %v", b, err)
		}
	}
}

func TestBothSidesLearnThatTheirTokensDiffer(t *testing.T) {
	logged := &lines{}
	_, dial := serve(t, side("b", "another token altogether"), slog.New(slog.NewTextHandler(logged, nil)))
	d := Dialer{Self: side("a", testToken), Dial: dial}
	if _, err := d.Connect(t.Context(), "b:1", Raft, ""); !errors.Is(err, ErrToken) {
		t.Errorf("the dialler: %v", err)
	}
	logged.wait(t, ErrToken.Error())
}

// An impostor that has no token, and repeats what the other side sent.
func TestAProofCannotBeReflected(t *testing.T) {
	_, dial := serve(t, side("b", testToken), discard())
	conn, err := dial(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writeFrame(conn, typeHello, &peerpb.Hello{NodeId: "a", Kind: Raft}); err != nil {
		t.Fatal(err)
	}
	var answer peerpb.Answer
	if _, err := receive(conn, typeAnswer, &answer); err != nil {
		t.Fatal(err)
	}
	if _, err := writeFrame(conn, typeProof, &peerpb.Proof{Proof: answer.Proof}); err != nil {
		t.Fatal(err)
	}
	_, body, err := readFrame(conn)
	if err != nil || !errors.Is(verdictError(body), ErrToken) {
		t.Errorf("verdict %q, %v", body, err)
	}
}

func TestARefusalTellsTheDiallerWhy(t *testing.T) {
	b := side("b", testToken)
	b.Admit = func(p *peerpb.Hello) error {
		return Refuse(peerpb.Verdict_SETTINGS, "--replicas is 2 here and 3 on node %s", p.GetNodeId())
	}
	_, dial := serve(t, b, discard())
	d := Dialer{Self: side("a", testToken), Dial: dial}
	_, err := d.Connect(t.Context(), "b:1", Raft, "")
	var refused *Refusal
	if !errors.As(err, &refused) || refused.Code != peerpb.Verdict_SETTINGS || refused.Text != "--replicas is 2 here and 3 on node a" {
		t.Errorf("refused with %v", err)
	}
	if _, err := d.Connect(t.Context(), "b:1", Raft, "c"); err == nil || !strings.Contains(err.Error(), `this is node "b", not "c"`) {
		t.Errorf("another node than was meant: %v", err)
	}
}

func TestOtherProtocolsAreClosedQuietly(t *testing.T) {
	for name, bytes := range map[string]string{
		"HTTP/2":      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"TLS":         "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"text":        "GET / HTTP/1.1\r\n\r\n",
		"huge":        magic + "\x00\x01\x01\xff\xff",
		"nothing":     "",
		"other frame": magic + "\x00\x01\x03\x00\x00",
		"no proto":    magic + "\x00\x01\x01\x00\x02\xff\xff",
	} {
		t.Run(name, func(t *testing.T) {
			logged := &lines{}
			_, dial := serve(t, side("b", testToken), slog.New(slog.NewTextHandler(logged, nil)))
			conn, err := dial(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			if bytes == "" {
				_ = conn.Close()
			} else if _, err := conn.Write([]byte(bytes)); err != nil {
				t.Fatal(err)
			}
			if answer, _ := io.ReadAll(conn); len(answer) > 0 {
				t.Errorf("answered %q", answer)
			}
			if text := logged.String(); text != "" {
				t.Errorf("logged %s", text)
			}
		})
	}
}

func TestAnotherVersionIsToldToBothSides(t *testing.T) {
	logged := &lines{}
	_, dial := serve(t, side("b", testToken), slog.New(slog.NewTextHandler(logged, nil)))
	conn, err := dial(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(magic + "\x00\x09\x01\x00\x00")); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(conn)
	if !strings.HasPrefix(string(answer), magic+"\x00\x01") {
		t.Errorf("the answer %q does not begin with our version", answer)
	}
	logged.wait(t, "version 9 there, 1 here")
}

func TestASilentPeerIsDroppedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := serve(t, side("b", testToken), discard())
		conn, err := dial(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(conn); err != nil || len(b) > 0 { // until the other side closes it
			t.Errorf("%q %v", b, err)
		}
		mute := Dialer{Self: side("a", testToken), Dial: func(context.Context, string) (net.Conn, error) {
			c, _ := net.Pipe()
			return c, nil
		}}
		if _, err := mute.Connect(t.Context(), "b:1", Raft, ""); err == nil || !strings.Contains(err.Error(), "not answered in time") {
			t.Errorf("of a mute peer: %v", err)
		}
		_ = s.Close()
	})
}

func TestOneHostCannotKeepTheOthersOut(t *testing.T) {
	s := &Server{byHost: map[string]int{}}
	for range maxHostShaking {
		if !s.begin("stranger") {
			t.Fatal("refused too early")
		}
	}
	if s.begin("stranger") || !s.begin("node") {
		t.Error("the stranger has more than its part")
	}
	s.end("stranger")
	if !s.begin("stranger") {
		t.Error("what ended still counts")
	}
}

func TestStrangersFillTheLogSlowly(t *testing.T) {
	logged := &lines{}
	s, dial := serve(t, side("b", testToken), slog.New(slog.NewTextHandler(logged, nil)))
	d := Dialer{Self: side("a", "another token altogether"), Dial: dial}
	for range 100 {
		if _, err := d.Connect(t.Context(), "b:1", Raft, ""); !errors.Is(err, ErrToken) {
			t.Fatal(err)
		}
	}
	_ = s.Close()
	if n := strings.Count(logged.String(), "\n"); n == 0 || n > 20 {
		t.Errorf("%d lines of 100 refusals", n)
	}
}

func TestAShortTokenIsRefused(t *testing.T) {
	if err := side("a", "short").Validate(); err == nil || !strings.Contains(err.Error(), "5 bytes, want at least 16") {
		t.Error(err)
	}
}

func FuzzHandshake(f *testing.F) {
	var hello bytes.Buffer
	_, _ = writeFrame(&hello, typeHello, &peerpb.Hello{NodeId: "a", Kind: Raft, Settings: map[string]string{"k": "v"}})
	f.Add(hello.Bytes())
	f.Add([]byte(magic + "\x00\x01\x02\xff\xff"))
	f.Add([]byte("PRI * HTTP/2.0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, shake := range []func(io.ReadWriter) (*peerpb.Hello, error){
			side("b", testToken).answer,
			func(rw io.ReadWriter) (*peerpb.Hello, error) { return side("a", testToken).greet(rw, Raft, "") },
		} {
			if peer, err := shake(&script{Reader: bytes.NewReader(b)}); err == nil {
				t.Errorf("%q was taken for a handshake of %v", b, peer)
			}
		}
	})
}

// script is a peer that sends what it was told, whatever it hears.
type script struct{ io.Reader }

func (*script) Write(b []byte) (int, error) { return len(b), nil }

// lines is a log that can be waited for.
type lines struct {
	mu   sync.Mutex
	b    strings.Builder
	more chan struct{}
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) wait(t *testing.T, text string) {
	t.Helper()
	for {
		l.mu.Lock()
		if strings.Contains(l.b.String(), text) {
			l.mu.Unlock()
			return
		}
		if l.more == nil {
			l.more = make(chan struct{})
		}
		more := l.more
		l.mu.Unlock()
		select {
		case <-more:
		case <-t.Context().Done():
			t.Fatalf("%q was never logged", text)
		}
	}
}
