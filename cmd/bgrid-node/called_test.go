package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestReccsAddressesAreUnderstood(t *testing.T) {
	for _, c := range []struct {
		text, want string
		tls        bool
		wrong      string
	}{
		{text: "http://grid:50051", want: "grid:50051"},
		{text: "grpc://grid:50051/", want: "grid:50051"},
		{text: "http://grid", want: "grid:80"},
		{text: "https://grid", want: "grid:443", tls: true},
		{text: "grpcs://[::1]:1", want: "[::1]:1", tls: true},
		{text: "unix:///run/casd.sock", want: "unix:///run/casd.sock"},
		{text: "grid:50051", want: "grid:50051"},
		{text: "ftp://grid", wrong: "ftp: is not known"},
		{text: "http://", wrong: "want http://HOST:PORT"},
		{text: "http://grid/instance", wrong: "want http://HOST:PORT"},
	} {
		have, options, err := reccAddress(c.text)
		switch {
		case c.wrong != "":
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s: have %v, want %q", c.text, err, c.wrong)
			}
		case err != nil || have != c.want || (len(options) > 0) != c.tls:
			t.Errorf("%s: have %s, %d options, %v", c.text, have, len(options), err)
		}
	}
}

// The order of recc's own variables, most particular first.
func TestReccsVariablesHaveTheirOrder(t *testing.T) {
	flag := "flag"
	for _, c := range []struct {
		env          map[string]string
		server       string
		instance     *string
		wantS, wantI string
	}{
		{env: nil, wantS: defaultServer, wantI: defaultInstance},
		{env: map[string]string{"BGRID_SERVER": "b:1", "BGRID_INSTANCE": "i"}, wantS: "b:1", wantI: "i"},
		{env: map[string]string{"BGRID_SERVER": "b:1", "RECC_SERVER": "http://r:1", "RECC_INSTANCE": ""}, wantS: "r:1", wantI: ""},
		{env: map[string]string{"RECC_SERVER": "http://r:1", "RECC_CAS_SERVER": "http://c:1", "RECC_INSTANCE": "i", "RECC_CAS_INSTANCE": "c"}, wantS: "c:1", wantI: "c"},
		{env: map[string]string{"RECC_CAS_SERVER": "http://c:1", "RECC_CAS_INSTANCE": "c"}, server: "http://f:1", instance: &flag, wantS: "f:1", wantI: "flag"},
	} {
		t.Run(c.wantS, func(t *testing.T) {
			for _, name := range []string{"BGRID_SERVER", "RECC_SERVER", "RECC_CAS_SERVER"} {
				t.Setenv(name, "")
			}
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			r, err := reccServer(c.server, c.instance)
			if err != nil || r.server != c.wantS || r.instance != c.wantI {
				t.Errorf("have %+v, %v", r, err)
			}
		})
	}
}

func TestTheNameChoosesTheCommand(t *testing.T) {
	for name, want := range map[string]string{
		"/usr/bin/casupload": "casupload PATH...", "./chrootbuilder": "chrootbuilder -e IMAGE DIR", "bgrid-node": "bgrid-node", "other": "bgrid-node",
	} {
		if have := calledAs(name).Use; have != want {
			t.Errorf("%s: have %s", name, have)
		}
	}
	var out, errs bytes.Buffer
	if code := execute(t.Context(), []string{"casupload"}, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), "wants a PATH") {
		t.Errorf("have %d, %q", code, errs.String())
	}
}
