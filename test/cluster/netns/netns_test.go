package netns

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestMain runs the tests in a network of their own where that can be.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		if what := os.Getenv(role); what != "" {
			if err := play(what, os.Args[1]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			return 0
		}
		if Inside() || Available() != nil {
			return m.Run()
		}
		code, err := Reenter(context.Background(), os.Args[1:]...)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return code
	}())
}

// role makes a copy of this program an echo server, or one that asks it once.
const role = "NETNS_TEST_ROLE"

// play is what such a copy does: "serve ADDRESS" or "ask ADDRESS".
func play(what, address string) error {
	if what == "ask" {
		c, err := net.DialTimeout("tcp", address, silence)
		if err != nil {
			return err
		}
		_ = c.SetDeadline(time.Now().Add(silence))
		if _, err := c.Write([]byte("x\n")); err != nil {
			return err
		}
		_, err = io.ReadFull(c, make([]byte, 2))
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("up")
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() { _, _ = io.Copy(c, c) }()
	}
}

func TestCuts(t *testing.T) {
	if err := Available(); err != nil {
		t.Skip(err)
	}
	ctx := t.Context()
	if err := New(ctx); err != nil {
		t.Fatal(err)
	}
	var hosts []*Host
	for i := 1; i <= 2; i++ {
		h, err := Add(ctx, fmt.Sprint("h", i), i)
		if err != nil {
			t.Fatal(err)
		}
		serveEcho(t, h)
		hosts = append(hosts, h)
	}
	a, b := hosts[0], hosts[1]
	here := &line{t: t, to: a.Address}
	here.connect()
	fromB := &line{t: t, to: a.Address, exec: b.Exec()}
	for _, step := range []struct {
		rule  string
		do    func() error
		here  bool
		fromB bool
	}{
		{"at first all is connected", func() error { return nil }, true, true},
		{"a cut between two hosts leaves the others", func() error { return a.CutBoth(ctx, b) }, true, false},
		{"and heals", func() error { return a.Heal(ctx) }, true, true},
		{"one direction is enough to break a connection", func() error { return a.Cut(ctx, b) }, true, false},
		{"an isolated host is reached by nobody", func() error { return a.Isolate(ctx) }, false, false},
		{"connections that were there go on after that", func() error { return a.Heal(ctx) }, true, true},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.rule, err)
		}
		if have := here.works(step.here); have != step.here {
			t.Errorf("%s: from here %t", step.rule, have)
		}
		if have := fromB.ping(); have != step.fromB {
			t.Errorf("%s: from the other host %t", step.rule, have)
		}
	}
	if out, err := exec.Command("ip", "-n", a.Name, "-brief", "address").CombinedOutput(); err != nil || !bytes.Contains(out, []byte(a.Address)) {
		t.Errorf("%s, %v", out, err)
	}
}

func TestHostsThatCannotBe(t *testing.T) {
	for name, id := range map[string]int{"": 1, "much-too-long": 1, "a": 0, "b": 254} {
		if _, err := Add(t.Context(), name, id); err == nil || !strings.Contains(err.Error(), "want a name") {
			t.Errorf("%q, %d: %v", name, id, err)
		}
	}
}

// TestNothingOfItShowsOutside looks at the network of the process that started
// this one.
func TestNothingOfItShowsOutside(t *testing.T) {
	if err := Available(); err != nil {
		t.Skip(err)
	}
	outside := fmt.Sprintf("--net=/proc/%d/ns/net", os.Getppid())
	out, err := exec.Command("nsenter", outside, "--", "ip", "-brief", "link").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if strings.Contains(string(out), "to-h1") || strings.Contains(string(out), "bridge ") {
		t.Errorf("links of the machine: %s", out)
	}
}

func serveEcho(t *testing.T, h *Host) {
	t.Helper()
	cmd := copyOf(h.Exec(), "serve", h.Address+":7")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
}

// line is a connection to an echo server.
type line struct {
	t    *testing.T
	to   string
	exec []string // of the host from which ping connects
	conn net.Conn
	sent int
}

func (l *line) connect() {
	l.t.Helper()
	var err error
	if l.conn, err = net.Dial("tcp", l.to+":7"); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = l.conn.Close() })
}

const (
	silence  = time.Second      // without an answer: cut
	patience = 20 * time.Second // for an answer: above the pauses between two retransmissions
)

// works sends a line on the connection and tells whether it, and all before it,
// comes back.
func (l *line) works(expected bool) bool {
	l.t.Helper()
	wait := silence
	if expected {
		wait = patience
	}
	l.sent++
	message := fmt.Sprintf("%d\n", l.sent)
	_ = l.conn.SetDeadline(time.Now().Add(wait))
	if _, err := l.conn.Write([]byte(message)); err != nil {
		return false
	}
	var have []byte
	for !strings.HasSuffix("\n"+string(have), "\n"+message) {
		buffer := make([]byte, 64)
		n, err := l.conn.Read(buffer)
		if err != nil {
			return false
		}
		have = append(have, buffer[:n]...)
	}
	return true
}

// ping connects anew and tells whether a line comes back.
func (l *line) ping() bool {
	l.t.Helper()
	return copyOf(l.exec, "ask", l.to+":7").Run() == nil
}

// copyOf is this program in a role, on the host that exec says.
func copyOf(on []string, what, address string) *exec.Cmd {
	args := append(on, os.Args[0], address)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), role+"="+what)
	return cmd
}
