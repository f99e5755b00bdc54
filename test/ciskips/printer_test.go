package main

import (
	"strings"
	"testing"
)

const events = `{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"output","Package":"p","Test":"TestGood","Output":"--- PASS: TestGood (0.00s)\n"}
{"Action":"pass","Package":"p","Test":"TestGood"}
{"Action":"output","Package":"p","Test":"TestSkip","Output":"    a_test.go:1: no such device\n"}
{"Action":"output","Package":"p","Test":"TestSkip","Output":"--- SKIP: TestSkip (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestSkip"}
{"Action":"output","Package":"p","Test":"TestPanics","Output":"panic: oh\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}
# broken
vet: x.go:1
`

func TestEveryResultIsPrinted(t *testing.T) {
	var out strings.Builder
	p := newPrinter(&out)
	if err := p.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"--- PASS: TestGood", "no such device", "--- SKIP: TestSkip", "panic: oh", "FAIL\tp", "vet: x.go:1"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "=== RUN   TestGood") {
		t.Error("the output of a passed test is printed")
	}
}

func TestASkipMustBeListed(t *testing.T) {
	for list, want := range map[string]bool{
		"":                                   false,
		"# p TestSkip reason\n":              false,
		"q TestSkip another package\n":       false,
		"p TestSkip needs a device\n# end\n": true,
	} {
		var out strings.Builder
		p := newPrinter(&out)
		if err := p.read(strings.NewReader(events)); err != nil {
			t.Fatal(err)
		}
		allowed, err := parseSkips(strings.NewReader(list))
		if err != nil {
			t.Fatal(err)
		}
		if have := p.summary(allowed); have != want {
			t.Errorf("%q: have %t, want %t", list, have, want)
		}
		if !strings.Contains(out.String(), "SKIP p TestSkip") {
			t.Errorf("%q: the skip is not printed", list)
		}
	}
	if _, err := parseSkips(strings.NewReader("p TestSkip\n")); err == nil {
		t.Error("a skip without a reason is taken")
	}
}
