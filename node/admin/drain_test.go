package admin

import (
	"net/http/httptest"
	"testing"
)

func TestANodeIsDrainedFromItsOwnMachineOnly(t *testing.T) {
	source := busy()
	s, _ := newServer(t, source)
	for _, c := range []struct {
		from, site string
		code       int
	}{
		{"127.0.0.1:1", "", 204},
		{"[::1]:1", "", 204},
		{"10.0.0.7:1", "", 403},
		{"127.0.0.1:1", "cross-site", 403},
	} {
		before := source.nodeDrains
		r := httptest.NewRequest("POST", "/api/drain", nil)
		r.Host, r.RemoteAddr = "localhost", c.from
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if drained := source.nodeDrains > before; w.Code != c.code || drained != (c.code == 204) {
			t.Errorf("from %s %s: %d, drained %t", c.from, c.site, w.Code, drained)
		}
	}
}
