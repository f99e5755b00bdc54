package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// defaultHTTP is where the pages of a node without configuration are.
const defaultHTTP = "127.0.0.1:8080"

// pages is the HTTP side of a server.
type pages struct {
	address  string
	patience time.Duration // of a request; 0: pagesPatience
}

func (p *pages) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.address, "http", cmp.Or(os.Getenv("BGRID_HTTP_LISTEN"), defaultHTTP), "`HOST:PORT` of the server's pages (its --http-listen); also BGRID_HTTP_LISTEN")
}

// pagesPatience bounds a request that is answered at once.
const pagesPatience = 30 * time.Second

// ask makes a request and hands the answer's body to read. Any answer but a
// success is an error, with the text that the server gave.
func (p *pages) ask(ctx context.Context, method, path string, read func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(p.patience, pagesPatience))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.address+path, nil)
	if err != nil {
		return usageError(fmt.Errorf("--http %s: want HOST:PORT, such as %s", p.address, defaultHTTP))
	}
	reply, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("no pages answer at %s (%w); name the server's --http-listen with --http", p.address, err)
	}
	defer func() { _ = reply.Body.Close() }()
	if reply.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(reply.Body, 1<<10))
		return fmt.Errorf("%s answers %s: %s", p.address, reply.Status, strings.TrimSpace(string(text)))
	}
	return read(reply.Body)
}

func escaped(segment string) string { return url.PathEscape(segment) }
