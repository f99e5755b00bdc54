package node

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/bgrid-node/bgrid-node/node/admin"
)

// openPages makes the HTTP server, unless it is off.
func (n *Node) openPages(context.Context) error {
	source := &source{node: n}
	n.metrics.Watch(source)
	if n.http == nil {
		return nil
	}
	host, _, _ := net.SplitHostPort(n.config.HTTPListen)
	handler, err := admin.New(admin.Options{Source: source, Metrics: n.metrics, LoopbackOnly: isLoopback(host), Logger: n.logger})
	if err != nil {
		return err
	}
	n.pages = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      5 * time.Minute, // profiles take as long as they are asked to
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(n.logger.Handler(), slog.LevelDebug),
	}
	return nil
}
