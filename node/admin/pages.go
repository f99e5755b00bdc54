package admin

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
	"time"
)

//go:embed web
var web embed.FS

// webFiles holds the directory static.
func webFiles() fs.FS {
	sub, err := fs.Sub(web, "web")
	if err != nil {
		panic(err) // the embedded directory is there, or the build would have failed
	}
	return sub
}

func parsePages() (*template.Template, error) {
	return template.New("").Funcs(template.FuncMap{
		"ago":     func(t time.Time) string { return formatTook(time.Since(t)) },
		"clock":   formatClock,
		"took":    formatTook,
		"bytes":   formatBytes,
		"percent": percent,
		"join":    strings.Join,
		"seq":     sequence,
		"sub":     func(a, b int) int { return a - b },
		"plural":  plural,
	}).ParseFS(web, "web/*.html")
}

func (s *Server) statusPage(w http.ResponseWriter, r *http.Request) {
	status, err := s.options.Source.Status(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.render(w, r, http.StatusOK, "status.html", status)
}

func (s *Server) operationPage(w http.ResponseWriter, r *http.Request) {
	op, err := s.options.Source.Operation(r.Context(), r.PathValue("name"))
	switch {
	case errors.Is(err, ErrNotFound):
		s.render(w, r, http.StatusNotFound, "missing.html", r.PathValue("name"))
	case err != nil:
		s.fail(w, r, err)
	default:
		s.render(w, r, http.StatusOK, "operation.html", op)
	}
}

// render executes the template first, so that an error does not leave half a page.
func (s *Server) render(w http.ResponseWriter, r *http.Request, code int, name string, data any) {
	var b bytes.Buffer
	if err := s.pages.ExecuteTemplate(&b, name, data); err != nil {
		s.fail(w, r, fmt.Errorf("render %s: %w", name, err))
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(b.Bytes())
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	s.options.Logger.Error("show page", "path", r.URL.Path, "error", err)
	plainText(w, http.StatusInternalServerError, "this page cannot be shown now; the log says why")
}
