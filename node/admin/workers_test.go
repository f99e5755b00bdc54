package admin

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWorkersAreListedWithTheirState(t *testing.T) {
	source := busy()
	running := source.status.Workers[0].Running
	source.status.Workers = []Worker{
		{BotID: "a", Slots: 2, Running: running},
		{BotID: "b", Drained: true, Running: running},
		{BotID: "c", Drained: true},
		{BotID: "d", Refuses: "its disk is full"},
		{BotID: "e", Away: true, Drained: true},
	}
	s, _ := newServer(t, source)
	w := get(s, "GET", "/api/workers", "localhost")
	var list []workerJSON
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, row := range list {
		have = append(have, row.BotID+" "+row.State)
	}
	if diff := cmp.Diff([]string{"a ok", "b draining", "c drained", "d refusing", "e away"}, have); diff != "" {
		t.Error(diff)
	}
	if list[0].Busy != 2 || list[0].Slots != 2 || len(list[0].Operations) != 2 {
		t.Errorf("%+v", list[0])
	}
	page := get(s, "GET", "/", "localhost").Body.String()
	for _, want := range []string{"takes no work: its disk is full", "takes no more work: it was drained", "not heard of since"} {
		if !strings.Contains(page, want) {
			t.Errorf("the status page does not say %q", want)
		}
	}
}

func TestWorkersAreDrainedByPosts(t *testing.T) {
	source := busy()
	s, _ := newServer(t, source)
	for _, c := range []struct {
		method, path, site string
		code               int
		want               bool
	}{
		{"POST", "/api/workers/laptop%2Flocal/drain", "", 204, true},
		{"POST", "/api/workers/laptop%2Flocal/undrain", "same-origin", 204, false},
		{"POST", "/api/workers/laptop%2Flocal/drain", "cross-site", 403, false}, // a page of somebody else, in a browser
		{"GET", "/api/workers/laptop%2Flocal/drain", "", 405, false},
		{"POST", "/api/workers/nobody/drain", "", 404, false},
	} {
		r := httptest.NewRequest(c.method, c.path, nil)
		r.Host = "localhost"
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != c.code || source.status.Workers[0].Drained != c.want {
			t.Errorf("%s %s from %q: %d %s, drained %t", c.method, c.path, c.site, w.Code, w.Body, source.status.Workers[0].Drained)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/api/workers/laptop%2Flocal/drain", nil)
	r.Host = "evil.example"
	w := httptest.NewRecorder()
	if s.ServeHTTP(w, r); w.Code != http.StatusForbidden {
		t.Errorf("under another host name: %d", w.Code)
	}
}
