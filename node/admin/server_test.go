package admin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func get(s http.Handler, method, path, host string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Host = host
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestPagesShowTheNodeAndEscapeWhatClientsSent(t *testing.T) {
	s, _ := newServer(t, busy())
	for _, c := range []struct {
		path string
		code int
		want []string
	}{
		{"/", 200, []string{"laptop/local", "2 of 4 slots", "no worker offers runner=bubblewrap", "and 11 more", "timed out", "3.0 GiB of 10.0 GiB", "4321 results",
			"ld &lt;script&gt;", "attempt 2", `href="/operations/buildgrid/6d3b1f0c-5f0a-4c0e-9a51-0c58a2a7a003"`, "grpc://127.0.0.1:50051", "2 unclean ends"}},
		{"/operations/buildgrid/6d3b1f0c-5f0a-4c0e-9a51-0c58a2a7a002", 200, []string{"a.c:1: error: &lt;oops&gt;", "&lt;the worker went away&gt;", "failed", "bb/3"}},
		{"/operations/buildgrid/nope", 404, []string{"buildgrid/nope"}},
		{"/operations/broken", 500, []string{"the log says why"}},
		{"/static/style.css", 200, []string{"prefers-color-scheme: dark"}},
		{"/static/live.js", 200, []string{"EventSource"}},
		{"/healthz", 200, []string{"ok"}},
		{"/readyz", 200, []string{"ready"}},
		{"/debug/pprof/", 200, []string{"goroutine"}},
		{"/nothing", 404, nil},
	} {
		w := get(s, http.MethodGet, c.path, "127.0.0.1:8080")
		if w.Code != c.code {
			t.Errorf("%s: have code %d, want %d", c.path, w.Code, c.code)
		}
		for _, want := range c.want {
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s: no %q in\n%s", c.path, want, w.Body.String())
			}
		}
		if strings.Contains(w.Body.String(), "secret detail") || strings.Contains(w.Body.String(), "<script> -o") {
			t.Errorf("%s shows what it must not", c.path)
		}
	}
}

func TestAnIdleNodeHasAPageToo(t *testing.T) {
	s, _ := newServer(t, &fakeSource{})
	w := get(s, http.MethodGet, "/", "localhost")
	for _, want := range []string{"No worker is connected", "Nothing waits", "Nothing has run yet"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %q", want)
		}
	}
}

func TestOnlyGetFromThisMachineIsServed(t *testing.T) {
	s, _ := newServer(t, busy())
	for _, c := range []struct {
		method, host string
		code         int
	}{
		{"GET", "127.0.0.1:8080", 200},
		{"GET", "localhost:8080", 200},
		{"GET", "[::1]:8080", 200},
		{"HEAD", "localhost", 200},
		{"GET", "evil.example:8080", 403},
		{"GET", "localhost.evil.example", 403},
		{"GET", "10.0.0.1", 403},
		{"GET", "", 403},
		{"POST", "localhost", 405},
		{"DELETE", "localhost", 405},
	} {
		if w := get(s, c.method, "/", c.host); w.Code != c.code {
			t.Errorf("%s from host %q: have %d, want %d", c.method, c.host, w.Code, c.code)
		}
	}
}

func TestReadinessTellsWhyNot(t *testing.T) {
	source := busy()
	source.ready = errors.New("the node is draining")
	s, _ := newServer(t, source)
	if w := get(s, "GET", "/readyz", "localhost"); w.Code != 503 || !strings.Contains(w.Body.String(), "draining") {
		t.Errorf("have %d %s", w.Code, w.Body)
	}
	if w := get(s, "GET", "/healthz", "localhost"); w.Code != 200 {
		t.Errorf("liveness: have %d", w.Code)
	}
}
