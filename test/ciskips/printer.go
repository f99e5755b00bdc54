package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
)

// event is one line of `go test -json` (see `go doc test2json`).
type event struct {
	Action, Package, ImportPath, Test, Output string
}

// printer turns events into what a reader of a CI log wants: every result by
// name, and the whole output of what failed or was skipped.
type printer struct {
	out     io.Writer
	pending map[string]map[string]*strings.Builder // package, test, output so far
	passed  int
	failed  []string
	skipped []string // "package Test"
}

func newPrinter(out io.Writer) *printer {
	return &printer{out: out, pending: map[string]map[string]*strings.Builder{}}
}

func (p *printer) read(events io.Reader) error {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				p.print(string(line)) // not an event: pass it on
			} else {
				p.handle(&e)
			}
		}
		switch err {
		case nil:
		case io.EOF:
			return nil
		default:
			return fmt.Errorf("read the output of go test: %w", err)
		}
	}
}

func (p *printer) handle(e *event) {
	switch e.Action {
	case "output":
		if e.Test == "" {
			p.print(e.Output)
			return
		}
		p.buffer(e.Package, e.Test).WriteString(e.Output)
	case "build-output":
		p.print(e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			p.flush(e.Package) // a test that a panic cut short has no end of its own
			return
		}
		p.end(e)
	}
}

// end prints a finished test.
func (p *printer) end(e *event) {
	output := p.buffer(e.Package, e.Test).String()
	delete(p.pending[e.Package], e.Test)
	switch e.Action {
	case "pass":
		p.passed++
		if strings.Contains(e.Test, "/") {
			return
		}
		output = onlyResult(output)
	case "fail":
		p.failed = append(p.failed, e.Package+" "+e.Test)
	case "skip":
		p.skipped = append(p.skipped, e.Package+" "+e.Test)
	}
	p.print(output)
}

// onlyResult keeps the line that names the result.
func onlyResult(output string) string {
	for line := range strings.Lines(output) {
		if strings.HasPrefix(line, "--- ") {
			return line
		}
	}
	return ""
}

func (p *printer) buffer(pkg, test string) *strings.Builder {
	if p.pending[pkg] == nil {
		p.pending[pkg] = map[string]*strings.Builder{}
	}
	b := p.pending[pkg][test]
	if b == nil {
		b = &strings.Builder{}
		p.pending[pkg][test] = b
	}
	return b
}

func (p *printer) flush(pkg string) {
	var tests []string
	for test := range p.pending[pkg] {
		tests = append(tests, test)
	}
	sort.Strings(tests)
	for _, test := range tests {
		p.print(p.pending[pkg][test].String())
	}
	delete(p.pending, pkg)
}

func (p *printer) print(s string) { _, _ = io.WriteString(p.out, s) }

// summary prints the counts and every skip; it returns false when a skip is not
// in allowed.
func (p *printer) summary(allowed map[string]string) bool {
	ok := true
	for _, test := range p.skipped {
		reason, listed := allowed[test]
		if !listed {
			ok = false
			reason = "NOT LISTED in " + skipsFile + ": CI fails"
		}
		p.print(fmt.Sprintf("SKIP %s: %s\n", test, reason))
	}
	for _, test := range p.failed {
		p.print("FAIL " + test + "\n")
	}
	p.print(fmt.Sprintf("%d tests passed, %d failed, %d skipped\n", p.passed, len(p.failed), len(p.skipped)))
	return ok
}

// parseSkips reads lines of PACKAGE TEST REASON; # begins a comment.
func parseSkips(r io.Reader) (map[string]string, error) {
	skips := map[string]string{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return nil, fmt.Errorf("%s:%d: want PACKAGE TEST REASON", skipsFile, n)
		}
		skips[fields[0]+" "+fields[1]] = strings.Join(fields[2:], " ")
	}
	return skips, lines.Err()
}
