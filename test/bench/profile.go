package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// profile begins a CPU profile of the node for one measurement, where -profiles
// asks for it, and returns the function that waits for it.
func (b *bench) profile(ctx context.Context, r row, round int) (done func()) {
	if b.profiles == "" || b.node == nil {
		return func() {}
	}
	name := strings.Map(func(c rune) rune {
		if (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') {
			return c
		}
		return '_'
	}, r.name)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", b.node.http, max(1, int(b.duration.Seconds())))
		if err := fetch(ctx, url, filepath.Join(b.profiles, fmt.Sprintf("%s.%d.pprof", name, round))); err != nil {
			fmt.Fprintln(os.Stderr, "bench: profile:", err)
		}
	}()
	return func() { <-finished }
}

func fetch(ctx context.Context, url, file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	reply, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, reply.Body); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
