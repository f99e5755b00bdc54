package cli

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience bounds every wait; it is far above what a wait takes.
const patience = 30 * time.Second

// await URL waits until an HTTP server answers 200 there. `! await URL` waits
// until it does not. `await file PATH` waits for a file, `await output REGEXP
// COMMAND...` until what the command prints matches.
func await(ts *testscript.TestScript, neg bool, args []string) {
	answered := func() bool {
		switch args[0] {
		case "file":
			_, err := os.Stat(ts.MkAbs(args[1]))
			return err == nil
		case "output":
			return ts.Exec(args[2], args[3:]...) == nil && regexp.MustCompile(args[1]).MatchString(ts.ReadFile("stdout"))
		}
		code, _, err := fetch(args[0])
		return err == nil && code == http.StatusOK
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if answered() != neg {
			return
		}
	}
	ts.Fatalf("await %s: not within %s", strings.Join(args, " "), patience)
}

// httpget URL TEXT... fetches a page and checks that it contains each text, or
// with `!` none of them.
func httpGet(ts *testscript.TestScript, neg bool, args []string) {
	_, body, err := fetch(args[0])
	ts.Check(err)
	for _, text := range args[1:] {
		if strings.Contains(body, text) == neg {
			ts.Fatalf("httpget %s: contains %q is %t in\n%s", args[0], text, !neg, body)
		}
	}
}

func fetch(url string) (int, string, error) {
	client := http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	reply, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = reply.Body.Close() }()
	body, err := io.ReadAll(reply.Body)
	return reply.StatusCode, string(body), err
}
