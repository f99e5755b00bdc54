package node

import "testing"

func TestSeccompStateIsRead(t *testing.T) {
	for status, want := range map[string]string{
		"Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\n": "none",
		"NoNewPrivs:\t1\nSeccomp:\t2\n":                "filtered",
		"Name:\tx\n":                                   "unknown",
		"":                                             "unknown",
	} {
		if have := seccompState(status); have != want {
			t.Errorf("%q: have %s, want %s", status, have, want)
		}
	}
}
