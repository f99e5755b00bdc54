package admin

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAnOpenPageIsKeptUpToDate(t *testing.T) {
	source := busy()
	s, _ := newServer(t, source)
	web := httptest.NewServer(s)
	defer web.Close()
	reply, err := http.Get(web.URL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reply.Body.Close() }()
	if kind := reply.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatalf("have content type %q", kind)
	}
	lines := bufio.NewScanner(reply.Body)
	if first := readEvent(t, lines); !strings.Contains(first, "and 11 more") || strings.Contains(first, "<html") {
		t.Fatalf("first event:\n%s", first)
	}
	source.change(func(s *Status) { s.QueueLength = 0; s.Queue = nil })
	for !strings.Contains(readEvent(t, lines), "Nothing waits") {
	}
}

func readEvent(t *testing.T, lines *bufio.Scanner) string {
	t.Helper()
	var event strings.Builder
	for lines.Scan() {
		if lines.Text() == "" {
			return event.String()
		}
		text, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			t.Fatalf("line %q is no data line", lines.Text())
		}
		event.WriteString(text + "\n")
	}
	t.Fatal("the stream ended")
	return ""
}

func TestEventStreamsAreBounded(t *testing.T) {
	s, _ := newServer(t, busy())
	for range maxEventStreams {
		s.events <- struct{}{}
	}
	if w := get(s, "GET", "/events", "localhost"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("have %d, want 503", w.Code)
	}
}
