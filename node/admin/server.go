package admin

import (
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options is what New needs.
type Options struct {
	Source  Source
	Metrics *Metrics
	// LoopbackOnly refuses Host headers that name another machine.
	LoopbackOnly bool
	Logger       *slog.Logger
}

// Validate names what is missing.
func (o *Options) Validate() error {
	if o.Source == nil || o.Metrics == nil || o.Logger == nil {
		return errors.New("admin: Source, Metrics and Logger must be set")
	}
	return nil
}

// Server answers HTTP requests. It is an http.Handler.
type Server struct {
	options Options
	pages   *template.Template
	events  chan struct{} // one token for each open event stream
	handler http.Handler
}

// maxEventStreams bounds the open status pages that are kept up to date.
const maxEventStreams = 64

// New returns the handler of all pages.
func New(o Options) (*Server, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	pages, err := parsePages()
	if err != nil {
		return nil, fmt.Errorf("parse pages: %w", err)
	}
	s := &Server{options: o, pages: pages, events: make(chan struct{}, maxEventStreams)}
	s.handler = s.guard(s.routes())
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.statusPage)
	mux.HandleFunc("GET /events", s.eventStream)
	mux.HandleFunc("GET /operations/{name...}", s.operationPage)
	mux.HandleFunc("GET /api/workers", s.listWorkers)
	mux.HandleFunc("POST /api/workers/{bot}/drain", s.drainWorker(true))
	mux.HandleFunc("POST /api/workers/{bot}/undrain", s.drainWorker(false))
	mux.HandleFunc("POST /api/drain", s.drain)
	mux.Handle("GET /static/", http.FileServerFS(webFiles()))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plainText(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", s.readiness)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.options.Metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	// A page of somebody else, open in a browser on this machine, must not drain.
	return http.NewCrossOriginProtection().Handler(mux)
}

// readiness says whether the node takes work. Liveness (/healthz) says only
// that the process answers.
func (s *Server) readiness(w http.ResponseWriter, _ *http.Request) {
	if err := s.options.Source.Ready(); err != nil {
		plainText(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	plainText(w, http.StatusOK, "ready")
}

// guard refuses what the package comment says, and forbids that other pages
// embed these.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.options.LoopbackOnly && !loopbackHost(r.Host) {
			plainText(w, http.StatusForbidden, fmt.Sprintf("host %q: this address is served to its own machine only", r.Host))
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

func loopbackHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}

func plainText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = fmt.Fprintln(w, text)
}
